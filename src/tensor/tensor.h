/* tensor.h - what a block of numbers is: element type, shape, conversion.
 *
 * Shapes are written outermost first and data is contiguous in that order. Activations are [N,H,W,C] or
 * [N,T,C] (the same bytes); weights keep the shapes of their files ([out,in,kh,kw], [out,in]). */
#ifndef KILN_TENSOR_TENSOR_H
#define KILN_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(enumerator, bytes per element, name in safetensors files) */
#define DTYPE_MAP(X)                                                                                         \
    X(F32, 4, "F32")                                                                                         \
    X(F16, 2, "F16")                                                                                         \
    X(BF16, 2, "BF16")                                                                                       \
    X(F64, 8, "F64")                                                                                         \
    X(F8_E4M3, 1, "F8_E4M3")                                                                                 \
    X(F8_E5M2, 1, "F8_E5M2")                                                                                 \
    X(I64, 8, "I64")                                                                                         \
    X(I32, 4, "I32")                                                                                         \
    X(I16, 2, "I16")                                                                                         \
    X(I8, 1, "I8")                                                                                           \
    X(U64, 8, "U64")                                                                                         \
    X(U32, 4, "U32")                                                                                         \
    X(U16, 2, "U16")                                                                                         \
    X(U8, 1, "U8")                                                                                           \
    X(BOOL, 1, "BOOL")

typedef enum dtype {
#define DTYPE_ENUM(name, bytes, text) DTYPE_##name,
    DTYPE_MAP(DTYPE_ENUM)
#undef DTYPE_ENUM
        DTYPE_COUNT
} dtype;

size_t dtype_size(dtype);
const char *dtype_name(dtype);
/* False when the name is none of the above. */
bool dtype_from_name(const char *name, dtype *out);
bool dtype_is_floating(dtype);

enum { SHAPE_MAX_RANK = 8 };

typedef struct shape {
    int rank;
    int64_t dim[SHAPE_MAX_RANK];
} shape;

/* shape_of(3, 2, 77, 768) is [2,77,768]. */
shape shape_of(int rank, ...);
#define SHAPE1(a) ((shape){1, {(a)}})
#define SHAPE2(a, b) ((shape){2, {(a), (b)}})
#define SHAPE3(a, b, c) ((shape){3, {(a), (b), (c)}})
#define SHAPE4(a, b, c, d) ((shape){4, {(a), (b), (c), (d)}})

bool shape_equal(shape a, shape b);
/* Number of elements; 1 for rank 0. Never overflows for a shape that shape_is_valid accepts. */
int64_t shape_count(shape);
/* All dimensions >= 0, rank in range, and the product (in bytes of the widest type) fits 62 bits. */
bool shape_is_valid(shape);
/* "[2,77,768]" into text; returns text. */
enum { SHAPE_TEXT = 168 };
const char *shape_text(shape, char text[SHAPE_TEXT]);

/* Convert n elements. Floating conversions round to nearest, ties to even; NaN stays NaN, and a value too
 * large for the target becomes infinity (E4M3, which has none, becomes NaN). */
void convert_to_f32(const void *from, dtype type, float *to, size_t n);
void convert_from_f32(const float *from, void *to, dtype type, size_t n);

static inline float bf16_to_f32(uint16_t v)
{
    union {
        uint32_t u;
        float f;
    } x = {(uint32_t)v << 16};
    return x.f;
}
static inline uint16_t f32_to_bf16(float f)
{
    union {
        float f;
        uint32_t u;
    } x = {f};
    if ((x.u & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)((x.u >> 16) | 0x40u);
    return (uint16_t)((x.u + 0x7FFFu + ((x.u >> 16) & 1u)) >> 16);
}

#endif
