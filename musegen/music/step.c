/* One step of Muse's blocks and head (`core.transformer.Block.step`), for `compiled.py`, which describes the structs.
 *
 * Every number is summed in one order, however many rows there are: what a row becomes does not depend on the rows
 * beside it. Vectors are GCC's and Clang's; the compiler makes of them what the processor has. A step has one thread:
 * threads that share a row would have to wait for each other thirty times a step, and that is milliseconds where others
 * use the processors too. Rows can be shared out among steps that run at the same time.
 *
 * Shapes: B rows, C width, H heads, D of a head, T positions, N outputs. C and D are multiples of 16;
 * matrices, scales and biases are filled up with zeros to a multiple of BLOCK outputs.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define LANES 16
#define WIDE 4
#define BLOCK (WIDE * LANES)
#ifdef __AVX512F__
#define ROWS 4 /* side by side, as the registers hold their sums */
#else
#define ROWS 2
#endif
#define INLINE static inline __attribute__((always_inline))

/* The fingerprint of this file as it was compiled: `compiled.py` takes no other. */
const char muse_source[] = SOURCE;

enum kind { FLOAT32, BFLOAT16, INT8 };

typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float half_floats __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t shorts __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef int8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

typedef struct {
    const void *weight;  /* (N / BLOCK, C, BLOCK) of `kind`: read from the first to the last */
    const float *scale;  /* (N,) of 8 bits, else null */
    const float *bias;   /* (N,) or null */
    int64_t n, c;
} matrix;

typedef struct {
    const float *weight, *bias;  /* (C,) each */
} norm;

typedef struct {
    norm before_attention, before_mlp;
    matrix in, out, expand, contract;
    const float *gain;    /* (H,), or null without qk_norm */
    void *keys, *values;  /* (B, H, T / 16, D, 16) and (B, H, T, D) of `cache_kind` */
} layer;

typedef struct {
    int64_t width, n_hidden, n_heads, context, n_layers;
    int64_t kind, cache_kind, is_gelu;
    const layer *layers;
    norm last;
    matrix head;
    const float *cos, *sin;               /* (T, D / 2) */
    float *x, *normed, *qkv, *attended;   /* (B, C), (B, C), (B, 3C), (B, C) */
    float *hidden, *scores;               /* (B, n_hidden), (T,) */
} model;

/* Vectors ---------------------------------------------------------------------------------------------------------- */

/* 8 and 16 bits to 32: GCC 12 takes numbers apart where they are to grow four times at once. */
#if defined(__AVX512F__)
INLINE ints from_bytes(const int8_t *from) { return (ints)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)); }
INLINE ints from_shorts(const uint16_t *from) { return (ints)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)); }
#elif defined(__AVX2__)
INLINE ints both(__m256i low, __m256i high) {
    ints made;
    memcpy(&made, &low, sizeof low);
    memcpy((char *)&made + sizeof low, &high, sizeof high);
    return made;
}
INLINE ints from_bytes(const int8_t *from) {
    return both(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from)),
                _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8))));
}
INLINE ints from_shorts(const uint16_t *from) {
    return both(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)),
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(from + 8))));
}
#else
INLINE ints from_bytes(const int8_t *from) { return __builtin_convertvector(*(const bytes *)from, ints); }
INLINE ints from_shorts(const uint16_t *from) { return __builtin_convertvector(*(const shorts *)from, ints); }
#endif

INLINE floats load(enum kind kind, const void *from, int64_t at) {
    if (kind == FLOAT32) return *(const floats *)((const float *)from + at);
    if (kind == BFLOAT16) return (floats)(from_shorts((const uint16_t *)from + at) << 16);
    return __builtin_convertvector(from_bytes((const int8_t *)from + at), floats);
}

INLINE void store(enum kind kind, void *to, int64_t at, float value) {
    if (kind == FLOAT32) {
        ((float *)to)[at] = value;
    } else { /* bfloat16, to the nearest, and to the even of two */
        uint32_t word;
        memcpy(&word, &value, 4);
        ((uint16_t *)to)[at] = (uint16_t)((word + 0x7fff + ((word >> 16) & 1)) >> 16);
    }
}

INLINE float sum(floats x) {
    half_floats low, high;
    memcpy(&low, &x, sizeof low);
    memcpy(&high, (const char *)&x + sizeof low, sizeof high);
    low += high;
    return ((low[0] + low[4]) + (low[1] + low[5])) + ((low[2] + low[6]) + (low[3] + low[7]));
}

INLINE floats larger(floats x, floats y) {
    ints mask = x > y;
    return (floats)((mask & (ints)x) | (~mask & (ints)y));
}

/* e to the power of x, for x up to 0 (Cephes' polynomial). */
INLINE floats exponential(floats x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = larger(x, (floats){0} - 87.0f);
    floats n = x * 1.44269504088896341f + magic - magic;
    floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
    floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * (floats)((__builtin_convertvector(n, ints) + 127) << 23);
}

/* x times the normal distribution up to x; the error function by Abramowitz and Stegun 7.1.26, within 1.5e-7. */
INLINE floats gelu(floats x) {
    floats z = larger(x, -x) * 0.70710678118654752f;
    floats t = 1.0f / (1.0f + 0.3275911f * z);
    floats tail = t * 1.061405429f - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = (tail * t + 0.254829592f) * t * exponential(-z * z) * 0.5f; /* 1 - the distribution at |x| */
    ints negative = x < 0.0f;
    floats below = (floats)((negative & (ints)tail) | (~negative & (ints)(1.0f - tail)));
    return x * below;
}

/* Parts of a step -------------------------------------------------------------------------------------------------- */

enum how { SET, ADD, GELU, RELU2 };

/* What becomes of the sums of one row and BLOCK outputs. No tile has a copy of its own: the compiler might multiply and
 * add at once in some and not in others. */
static __attribute__((noinline)) void finish(const matrix *m, int64_t first, const floats *sums, float *out, enum how how) {
    for (int j = 0; j < WIDE; j++) {
        int64_t at = first + j * LANES;
        if (at >= m->n) return;
        floats made = sums[j], before = {0};
        int n_here = m->n - at < LANES ? m->n - at : LANES;
        if (m->scale) made *= load(FLOAT32, m->scale, at);
        if (m->bias) made += load(FLOAT32, m->bias, at);
        if (how == GELU) made = gelu(made);
        if (how == RELU2) made = larger(made, before), made *= made;
        if (how == ADD) memcpy(&before, out + at, n_here * sizeof(float)), made += before;
        memcpy(out + at, &made, n_here * sizeof(float));
    }
}

/* BLOCK outputs of `n_rows` rows. */
INLINE void tile(enum kind kind, const matrix *m, int64_t first, const float *x, int n_rows, float *out, enum how how) {
    floats sums[ROWS][WIDE] = {0};
    for (int64_t i = 0; i < m->c; i++) {
        floats weights[WIDE];
        for (int j = 0; j < WIDE; j++) weights[j] = load(kind, m->weight, first * m->c + i * BLOCK + j * LANES);
        for (int row = 0; row < n_rows; row++)
            for (int j = 0; j < WIDE; j++) sums[row][j] += weights[j] * x[row * m->c + i];
    }
    for (int row = 0; row < n_rows; row++) finish(m, first, sums[row], out + row * m->n, how);
}

/* (B, C) -> (B, N). */
INLINE void multiply_as(enum kind kind, const matrix *m, const float *x, float *out, int64_t n_rows, enum how how) {
    for (int64_t first = 0; first < m->n; first += BLOCK)
        for (int64_t row = 0; row < n_rows;) {
            int n_here = n_rows - row >= ROWS ? ROWS : 1;
            if (n_here == ROWS) tile(kind, m, first, x + row * m->c, ROWS, out + row * m->n, how);
            else tile(kind, m, first, x + row * m->c, 1, out + row * m->n, how);
            row += n_here;
        }
}

static void multiply(const model *m, const matrix *by, const float *x, float *out, int64_t n_rows, enum how how) {
    if (m->kind == FLOAT32) multiply_as(FLOAT32, by, x, out, n_rows, how);
    else if (m->kind == BFLOAT16) multiply_as(BFLOAT16, by, x, out, n_rows, how);
    else multiply_as(INT8, by, x, out, n_rows, how);
}

/* Layer normalisation (Ba et al. 2016) of all rows. */
static const float *normalise(const model *m, const norm *by, int64_t n_rows) {
    float *out = m->normed;
    for (int64_t row = 0; row < n_rows; row++) {
        const float *x = m->x + row * m->width;
        floats total = {0}, squares = {0};
        for (int64_t i = 0; i < m->width; i += LANES) total += load(FLOAT32, x, i);
        float mean = sum(total) / m->width;
        for (int64_t i = 0; i < m->width; i += LANES) {
            floats from_mean = load(FLOAT32, x, i) - mean;
            squares += from_mean * from_mean;
        }
        float scale = 1 / sqrtf(sum(squares) / m->width + 1e-5f);
        for (int64_t i = 0; i < m->width; i += LANES)
            *(floats *)(out + row * m->width + i) =
                (load(FLOAT32, x, i) - mean) * scale * load(FLOAT32, by->weight, i) + load(FLOAT32, by->bias, i);
    }
    return out;
}

/* One query or key (D,) in place: its length, where there is a gain, and its turn by the position. */
static void turn(const model *m, float *x, const float *gain, int64_t position) {
    int64_t d = m->width / m->n_heads;
    if (gain) {
        floats squares = {0};
        for (int64_t i = 0; i < d; i += LANES) squares += load(FLOAT32, x, i) * load(FLOAT32, x, i);
        float scale = *gain / sqrtf(sum(squares) / d + 1.1920929e-07f);
        for (int64_t i = 0; i < d; i++) x[i] *= scale;
    }
    const float *cos = m->cos + position * (d / 2), *sin = m->sin + position * (d / 2);
    for (int64_t i = 0; i < d / 2; i++) {
        float even = x[i], odd = x[d / 2 + i];
        x[i] = even * cos[i] - odd * sin[i];
        x[d / 2 + i] = odd * cos[i] + even * sin[i];
    }
}

/* The scores of the positions 0 to n - 1, n a multiple of 16: query (D,) times keys (n / 16, D, 16). */
INLINE floats score(enum kind kind, const float *query, const void *keys, int64_t d, int64_t n, float *scores) {
    floats largest = (floats){0} - INFINITY;
    for (int64_t t = 0; t < n; t += LANES) {
        floats parts[4] = {0};
        for (int64_t i = 0; i < d; i += 4)
            for (int j = 0; j < 4; j++) parts[j] += load(kind, keys, t * d + (i + j) * LANES) * query[i + j];
        floats made = (parts[0] + parts[1]) + (parts[2] + parts[3]);
        *(floats *)(scores + t) = made;
        largest = larger(made, largest);
    }
    return largest;
}

/* `n_parts` vectors of what is seen: weights (n,) times values (n, D), from the lane `first` on. */
INLINE void gather(enum kind kind, const float *weights, const void *values, int64_t d, int64_t n, int64_t first,
                   int n_parts, float *out) {
    floats made[4] = {0};
    for (int64_t t = 0; t < n; t++)
        for (int part = 0; part < n_parts; part++)
            made[part] += load(kind, values, t * d + first + part * LANES) * weights[t];
    for (int part = 0; part < n_parts; part++) *(floats *)(out + first + part * LANES) = made[part];
}

/* One head of one row, whose keys and values are in that lane of the cache. */
INLINE void attend_as(enum kind kind, const model *m, const layer *by, int64_t row, int64_t head, int64_t lane, int64_t position) {
    int64_t d = m->width / m->n_heads;
    float *scores = m->scores, *query = m->qkv + row * 3 * m->width + head * d, *key = query + m->width, *value = key + m->width;
    size_t size = kind == FLOAT32 ? 4 : 2;
    void *keys = (char *)by->keys + lane * m->context * d * size, *values = (char *)by->values + lane * m->context * d * size;
    turn(m, query, by->gain ? by->gain + head : 0, position);
    turn(m, key, by->gain ? by->gain + head : 0, position);
    for (int64_t i = 0; i < d; i++) {
        store(kind, keys, position / LANES * LANES * d + i * LANES + position % LANES, key[i]);
        store(kind, values, position * d + i, value[i]);
        query[i] *= 1 / sqrtf((float)d);
    }
    int64_t n = position + 1, n_whole = n / LANES * LANES, n_blocks = (n + LANES - 1) / LANES * LANES;
    floats largest = score(kind, query, keys, d, n_whole, scores);
    if (n_whole < n) { /* what lies behind the position is not seen */
        score(kind, query, (char *)keys + n_whole * d * size, d, LANES, scores + n_whole);
        for (int64_t t = n; t < n_blocks; t++) scores[t] = -INFINITY;
        largest = larger(load(FLOAT32, scores, n_whole), largest);
    }
    float most = largest[0];
    for (int i = 1; i < LANES; i++) most = largest[i] > most ? largest[i] : most;
    floats total = {0};
    for (int64_t t = 0; t < n_blocks; t += LANES) {
        floats made = exponential(load(FLOAT32, scores, t) - most);
        *(floats *)(scores + t) = made;
        total += made;
    }
    float *out = m->attended + row * m->width + head * d, scale = 1 / sum(total);
    for (int64_t i = 0; i < d;) {
        if (d - i >= 4 * LANES) gather(kind, scores, values, d, n, i, 4, out), i += 4 * LANES;
        else if (d - i >= 2 * LANES) gather(kind, scores, values, d, n, i, 2, out), i += 2 * LANES;
        else gather(kind, scores, values, d, n, i, 1, out), i += LANES;
    }
    for (int64_t i = 0; i < d; i++) out[i] *= scale;
}

static void attend(const model *m, const layer *by, int64_t n_rows, const int64_t *rows, const int64_t *positions) {
    for (int64_t row = 0; row < n_rows; row++)
        for (int64_t head = 0; head < m->n_heads; head++) {
            int64_t lane = rows[row] * m->n_heads + head, position = positions[rows[row]];
            if (m->cache_kind == FLOAT32) attend_as(FLOAT32, m, by, row, head, lane, position);
            else attend_as(BFLOAT16, m, by, row, head, lane, position);
        }
}

/* x (B, C) of the model, of these rows (B,) of the cache at the positions that all of them have, to logits (B, V). */
void muse_step(const model *m, int64_t n, const int64_t *rows, const int64_t *positions, float *logits) {
    for (int64_t i = 0; i < m->n_layers; i++) {
        const layer *by = m->layers + i;
        multiply(m, &by->in, normalise(m, &by->before_attention, n), m->qkv, n, SET);
        attend(m, by, n, rows, positions);
        multiply(m, &by->out, m->attended, m->x, n, ADD);
        multiply(m, &by->expand, normalise(m, &by->before_mlp, n), m->hidden, n, m->is_gelu ? GELU : RELU2);
        multiply(m, &by->contract, m->hidden, m->x, n, ADD);
    }
    multiply(m, &m->head, normalise(m, &m->last, n), logits, n, SET);
}
