/* png_file.c - see png_file.h. */
#include "emoji/png_file.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>

static bool write_rows(png_structp png, png_infop info, FILE *file, const uint8_t *rgb, int width, int height,
                       int level)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_init_io(png, file);
    png_set_compression_level(png, level);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, level < 3 ? PNG_FILTER_SUB : PNG_ALL_FILTERS);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < height; y++)
        png_write_row(png, rgb + 3 * (size_t)width * (size_t)y);
    png_write_end(png, info);
    return true;
}

kiln_status png_file_write(const char *path, const uint8_t *rgb, int width, int height, int level,
                           kiln_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail_system(err, "%s", path);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool ok = info && write_rows(png, info, file, rgb, width, height, level);
    png_destroy_write_struct(&png, &info);
    if (fclose(file) != 0 || !ok)
        return fail(err, KILN_IO, "%s: the picture could not be written", path);
    return KILN_OK;
}
