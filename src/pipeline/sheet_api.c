/* sheet_api.c - the public call for sheets; the work is done in src/image. */
#include "image/sheet.h"
#include "pipeline/image_api.h"

#include <kiln/sheet.h>

#include <stdlib.h>

/* All but the pictures. */
static sheet_content content_of(const kiln_sheet *s)
{
    return (sheet_content){.columns = s->columns,
                           .rows = s->rows,
                           .layers = s->layers,
                           .captions = s->captions,
                           .columns_say = s->column_labels,
                           .rows_say = s->row_labels,
                           .layers_say = s->layer_labels,
                           .title = s->title,
                           .font = s->font,
                           .cell_px = s->cell_px};
}

kiln_status kiln_sheet_check(const kiln_sheet *s, int width_px, int height_px, kiln_error *err)
{
    sheet_content content = content_of(s);
    if (width_px < 1 || height_px < 1)
        return fail(err, KILN_BAD_ARGUMENT, "pictures of %dx%d pixels on a sheet", width_px, height_px);
    return sheet_check(&content, width_px, height_px, err);
}

kiln_status kiln_sheet_draw(const kiln_sheet *s, kiln_image **out, kiln_error *err)
{
    *out = NULL;
    sheet_content content = content_of(s);
    int64_t count;
    kiln_status status = sheet_count(&content, &count, err);
    if (status)
        return status;
    const image **pictures = calloc((size_t)count, sizeof *pictures);
    if (!pictures)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a sheet");
    for (int64_t i = 0; i < count; i++)
        pictures[i] = s->pictures[i] ? s->pictures[i]->picture : NULL;
    content.pictures = pictures;
    image *made;
    status = sheet_draw(&content, &made, err);
    free(pictures);
    return status ? status : kiln_image_wrap(made, out, err);
}
