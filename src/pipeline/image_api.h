/* image_api.h - kiln_image: a picture and the texts that travel with it. */
#ifndef KILN_PIPELINE_IMAGE_API_H
#define KILN_PIPELINE_IMAGE_API_H

#include "image/image.h"
#include "image/picture_text.h"

struct kiln_image {
    image *picture;
    picture_text *texts;
};

/* Takes the picture over, also on failure. */
kiln_status kiln_image_wrap(image *picture, kiln_image **out, kiln_error *);

#endif
