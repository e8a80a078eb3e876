/* exif.h - the two things wanted from an EXIF block: how to turn the picture, and the user's comment.
 *
 * EXIF (CIPA DC-008) is a TIFF structure: 8 bytes of header ("II*\0" little endian or "MM\0*" big endian,
 * then the offset of the first directory), directories of 12-byte entries, values by offset. Tags used:
 * 0x0112 orientation; 0x8769 offset of the EXIF directory; in that, 0x9286 UserComment, whose first 8
 * bytes name its character code. Trusts no offset. */
#ifndef KILN_IMAGE_EXIF_H
#define KILN_IMAGE_EXIF_H

#include "image/byte_buffer.h"

/* The orientation 1..8; 1 when there is none or the block is damaged. The block may start with "Exif\0\0". */
int exif_orientation(const unsigned char *block, size_t size);

/* The user's comment as UTF-8 (free with free), or NULL when there is none or memory is short. "UNICODE" is
 * read as UTF-16 in either byte order, whichever makes more characters of the Latin block. */
char *exif_user_comment(const unsigned char *block, size_t size);

/* Append a TIFF block (without "Exif\0\0") that holds `comment` (UTF-8) as UserComment in UTF-16 big endian,
 * which is what A1111 writes; as ASCII when `ascii` is set, which takes half the room. */
void exif_put_user_comment(byte_buffer *to, const char *comment, bool ascii);

#endif
