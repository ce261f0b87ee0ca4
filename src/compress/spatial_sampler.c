/*
 * spatial_sampler.c - LongVU's spatial vision aggregator (SVA), see spatial_sampler.h.
 *
 *   tower grids [N,24*24,W] -> windows [N*q*q, r*r, W] (+ position) -> norm -> k, v
 *   query [N*q*q,W] | context -> in -> norm -> q
 *   layer:  h = in(q | context(c));  h = norm(h + out(attention(q(h), k, v)));  q += fc2(gelu(fc1(h)))
 *
 * Serves LongVU (W=1024, 16 heads, 3 layers, r=2; image stage r=1).
 * Ref:   LongVU vision_sampler.py:170-401, 519-566; cambrian_arch.py:501-595, 901-937; Cambrian-1 arXiv:2406.16860 section 3.2.
 * Trap:  the residual around the MLP is the layer's input, not h. No linear has a bias; every norm has epsilon 1e-5.
 *        A window on the border of the picture hides half of its tokens (an odd border, r=2). All towers hide the same
 *        places, so instead of masking, hidden rows are replaced by copies of the seen ones: every seen key then counts
 *        twice, and softmax is unchanged.
 * Owner: weights are borrowed from vr_weights; activations live in the caller's scratch arena.
 */
#include "compress/spatial_sampler.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

#define TOWERS VR_SAMPLER_TOWERS

typedef struct tower_weights {
    const float *position;                                  /* [r*r, W] or NULL  sampler.blk.%d.TOWER.position */
    const float *k_norm_w, *k_norm_b, *v_norm_w, *v_norm_b; /* [W] */
    vr_matrix k_w, v_w;                                     /* [W, W] */
} tower_weights;

typedef struct sampler_block {
    vr_matrix context_w, in_w;        /* [W, W], [W, 2W]  .context, .in */
    const float *q_norm_w, *q_norm_b; /* [W] */
    vr_matrix q_w, out_w;             /* [W, W] */
    tower_weights towers[TOWERS];
    const float *norm_w, *norm_b; /* [W] */
    vr_matrix fc1_w, fc2_w;       /* [W, W] */
} sampler_block;

struct vr_spatial_sampler {
    int n_blocks, width, n_heads, tower_side, query_side, ratio;
    float epsilon;
    const float *query;     /* [W]  sampler.query */
    sampler_block blocks[]; /* [n_blocks] */
};

static int tower_bind(tower_weights *t, vr_weights *w, const vr_spatial_sampler *s, int l, const char *name, vr_err *e)
{
    const int W = s->width;
    if (s->ratio > 1)
        VR_TRY(vr_weights_table(w, &t->position, s->ratio * s->ratio, W, e, "sampler.blk.%d.%s.position", l, name));
    VR_TRY(vr_weights_vector(w, &t->k_norm_w, W, e, "sampler.blk.%d.%s.k_norm.weight", l, name));
    VR_TRY(vr_weights_vector(w, &t->k_norm_b, W, e, "sampler.blk.%d.%s.k_norm.bias", l, name));
    VR_TRY(vr_weights_vector(w, &t->v_norm_w, W, e, "sampler.blk.%d.%s.v_norm.weight", l, name));
    VR_TRY(vr_weights_vector(w, &t->v_norm_b, W, e, "sampler.blk.%d.%s.v_norm.bias", l, name));
    VR_TRY(vr_weights_matrix(w, &t->k_w, W, W, e, "sampler.blk.%d.%s.k.weight", l, name));
    return vr_weights_matrix(w, &t->v_w, W, W, e, "sampler.blk.%d.%s.v.weight", l, name);
}

static int block_bind(vr_spatial_sampler *s, vr_weights *w, int l, const char *const towers[TOWERS], vr_err *e)
{
    const int W = s->width;
    sampler_block *b = &s->blocks[l];
    VR_TRY(vr_weights_matrix(w, &b->context_w, W, W, e, "sampler.blk.%d.context.weight", l));
    VR_TRY(vr_weights_matrix(w, &b->in_w, W, 2 * W, e, "sampler.blk.%d.in.weight", l));
    VR_TRY(vr_weights_vector(w, &b->q_norm_w, W, e, "sampler.blk.%d.q_norm.weight", l));
    VR_TRY(vr_weights_vector(w, &b->q_norm_b, W, e, "sampler.blk.%d.q_norm.bias", l));
    VR_TRY(vr_weights_matrix(w, &b->q_w, W, W, e, "sampler.blk.%d.q.weight", l));
    for (int i = 0; i < TOWERS; i++) VR_TRY(tower_bind(&b->towers[i], w, s, l, towers[i], e));
    VR_TRY(vr_weights_matrix(w, &b->out_w, W, W, e, "sampler.blk.%d.out.weight", l));
    VR_TRY(vr_weights_vector(w, &b->norm_w, W, e, "sampler.blk.%d.norm.weight", l));
    VR_TRY(vr_weights_vector(w, &b->norm_b, W, e, "sampler.blk.%d.norm.bias", l));
    VR_TRY(vr_weights_matrix(w, &b->fc1_w, W, W, e, "sampler.blk.%d.fc1.weight", l));
    return vr_weights_matrix(w, &b->fc2_w, W, W, e, "sampler.blk.%d.fc2.weight", l);
}

static int sampler_bind(vr_spatial_sampler *s, vr_weights *w, const char *const towers[TOWERS], vr_err *e)
{
    VR_TRY(vr_weights_int(w, &s->width, 1, VR_MAX_WIDTH, e, "sampler.embedding_length"));
    VR_TRY(vr_weights_int(w, &s->n_heads, 1, VR_MAX_HEADS, e, "sampler.head_count"));
    VR_TRY(vr_weights_float(w, &s->epsilon, e, "sampler.norm_epsilon"));
    if (s->width % s->n_heads != 0 || s->width / s->n_heads > VR_MAX_HEAD_DIM)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: sampler.head_count %d does not fit sampler.embedding_length %d",
                       vr_weights_path(w), s->n_heads, s->width);
    VR_TRY(vr_weights_vector(w, &s->query, s->width, e, "sampler.query"));
    for (int l = 0; l < s->n_blocks; l++) VR_TRY(block_bind(s, w, l, towers, e));
    return VR_OK;
}

int vr_spatial_sampler_open(vr_spatial_sampler **out, vr_weights *w, const char *const towers[TOWERS], int tower_side,
                            int query_side, vr_err *e)
{
    int n_blocks;
    *out = NULL;
    VR_TRY(vr_weights_int(w, &n_blocks, 1, VR_MAX_BLOCKS, e, "sampler.block_count"));
    vr_spatial_sampler *s = calloc(1, sizeof *s + (size_t)n_blocks * sizeof s->blocks[0]);
    if (!s) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the sampler");
    s->n_blocks = n_blocks;
    s->tower_side = tower_side;
    s->query_side = query_side;
    s->ratio = tower_side / query_side;
    const int rc = sampler_bind(s, w, towers, e);
    if (rc != VR_OK) {
        vr_spatial_sampler_free(s);
        return rc;
    }
    *out = s;
    return VR_OK;
}

void vr_spatial_sampler_free(vr_spatial_sampler *sampler)
{
    free(sampler);
}

int vr_spatial_sampler_width(const vr_spatial_sampler *sampler)
{
    return sampler->width;
}

/* token of the tower grid: place (query) and number in its window */
static int token_of(const vr_spatial_sampler *s, int place, int inner)
{
    const int r = s->ratio, y = place / s->query_side * r + inner / r, x = place % s->query_side * r + inner % r;
    return y * s->tower_side + x;
}

static bool is_open(const vr_spatial_sampler *s, const vr_crop *open, int token)
{
    const int y = token / s->tower_side, x = token % s->tower_side;
    return y >= open->row_first && y < open->row_end && x >= open->col_first && x < open->col_end;
}

/* seen[r*r] of a place; all where none is open. Returns the number seen. */
static int window_seen(const vr_spatial_sampler *s, const vr_crop *open, int place, bool *seen)
{
    const int n = s->ratio * s->ratio;
    int count = 0;
    for (int i = 0; i < n; i++) count += seen[i] = is_open(s, open, token_of(s, place, i));
    for (int i = 0; count == 0 && i < n; i++) seen[i] = true;
    return count ? count : n;
}

#define MAX_RATIO 32

/* Rows of N windowed frames in place of which others are read: ids [N*q*q*r*r]. Returns whether any is another. */
static bool hidden_ids(const vr_spatial_sampler *s, const vr_crop *open, int N, int32_t *ids)
{
    const int places = s->query_side * s->query_side, n = s->ratio * s->ratio;
    bool any = false;
    for (int place = 0; place < places; place++) {
        bool seen[MAX_RATIO * MAX_RATIO];
        int next = 0;
        if (window_seen(s, open, place, seen) < n) any = true;
        for (int i = 0; i < n; i++) {
            int from = i;
            if (!seen[i]) { /* copies of the seen ones in turn */
                while (!seen[next % n]) next++;
                from = next++ % n;
            }
            for (int f = 0; f < N; f++) ids[(f * places + place) * n + i] = (f * places + place) * n + from;
        }
    }
    return any;
}

void vr_spatial_sampler_dump_mask(const vr_spatial_sampler *s, vr_run *run, const vr_crop *open)
{
    const int places = s->query_side * s->query_side, n = s->ratio * s->ratio;
    vr_dump *dump = vr_run_stages(run);
    for (int place = 0; dump && place < places; place++) {
        bool seen[MAX_RATIO * MAX_RATIO];
        int32_t row[MAX_RATIO * MAX_RATIO];
        window_seen(s, open, place, seen);
        for (int i = 0; i < n; i++) row[i] = seen[i];
        vr_dump_i32(dump, "sampler.mask", row, 2, (const int64_t[2]){ 1, n });
    }
}

/* grid [N, side*side, W] -> windows [N*q*q, r*r, W] */
static void windows_make(const vr_spatial_sampler *s, vr_run *run, const float *grid, int N, float *windows, int32_t *ids)
{
    const int places = s->query_side * s->query_side, n = s->ratio * s->ratio, tokens = s->tower_side * s->tower_side;
    for (int i = 0; !run->be->plan && i < N * tokens; i++) ids[i] = i / tokens * tokens + token_of(s, i / n % places, i % n);
    run->be->ops->gather_rows(run->be, windows, grid, ids, N * tokens, s->width);
}

/* Keys and values of one tower, into every second group of r*r rows of k and v [N*q*q, 2*r*r, W]. */
static void keys_make(const vr_spatial_sampler *s, const tower_weights *t, vr_run *run, const float *windows,
                      const int32_t *hidden, int N, float *k, float *v)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int W = s->width, n = s->ratio * s->ratio, places = N * s->query_side * s->query_side, rows = places * n;
    const size_t mark = vr_arena_mark(run->scratch), floats = (size_t)rows * (size_t)W;
    float *placed = vr_arena_floats(run->scratch, floats), *normed = vr_arena_floats(run->scratch, floats);
    float *product = vr_arena_floats(run->scratch, floats);
    const float *from = windows;
    if (t->position) {
        op->add_rows(be, placed, windows, t->position, rows, W, 1, n);
        from = placed;
    }
    if (hidden) {
        op->gather_rows(be, product, from, hidden, rows, W);
        op->copy_rows(be, placed, W, product, W, rows, W);
        from = placed;
    }
    op->layer_norm(be, normed, from, t->k_norm_w, t->k_norm_b, rows, W, s->epsilon);
    op->linear(be, product, normed, &t->k_w, NULL, VR_ACT_NONE, NULL, rows);
    op->copy_rows(be, k, (int64_t)TOWERS * n * W, product, (int64_t)n * W, places, n * W);
    op->layer_norm(be, normed, from, t->v_norm_w, t->v_norm_b, rows, W, s->epsilon);
    op->linear(be, product, normed, &t->v_w, NULL, VR_ACT_NONE, NULL, rows);
    op->copy_rows(be, v, (int64_t)TOWERS * n * W, product, (int64_t)n * W, places, n * W);
    vr_arena_release(run->scratch, mark);
}

/* One layer: q [N*q*q, W] in place. */
static void layer_forward(const vr_spatial_sampler *s, const sampler_block *b, vr_run *run, const float *const windows[TOWERS],
                          const int32_t *hidden, const float *context, int N, float *q)
{
    const vr_ops *op = run->be->ops;
    vr_backend *be = run->be;
    const int W = s->width, E = W / s->n_heads, n = s->ratio * s->ratio, per_frame = s->query_side * s->query_side;
    const int places = N * per_frame;
    const size_t mark = vr_arena_mark(run->scratch), floats = (size_t)places * (size_t)W;
    float *k = vr_arena_floats(run->scratch, (size_t)(TOWERS * n) * floats);
    float *v = vr_arena_floats(run->scratch, (size_t)(TOWERS * n) * floats);
    float *both = vr_arena_floats(run->scratch, 2 * floats), *h = vr_arena_floats(run->scratch, floats);
    float *spare = vr_arena_floats(run->scratch, floats), *c = vr_arena_floats(run->scratch, (size_t)N * (size_t)W);

    for (int i = 0; i < TOWERS; i++)
        keys_make(s, &b->towers[i], run, windows[i], hidden, N, k + (size_t)(i * n) * (size_t)W,
                  v + (size_t)(i * n) * (size_t)W);
    op->linear(be, c, context, &b->context_w, NULL, VR_ACT_NONE, NULL, N);
    op->copy_rows(be, both, 2 * W, q, W, places, W);
    for (int f = 0; f < N; f++)
        op->copy_rows(be, both + (size_t)f * (size_t)per_frame * (size_t)(2 * W) + W, 2 * W, c + (size_t)f * (size_t)W, 0,
                      per_frame, W);
    op->linear(be, h, both, &b->in_w, NULL, VR_ACT_NONE, NULL, places);
    op->layer_norm(be, spare, h, b->q_norm_w, b->q_norm_b, places, W, s->epsilon);
    op->linear(be, both, spare, &b->q_w, NULL, VR_ACT_NONE, NULL, places);
    const int64_t key_batch = (int64_t)TOWERS * n * W;
    op->attention(be, &(vr_attention){ .n_batch = places,
                                       .n_queries = 1,
                                       .n_keys = TOWERS * n,
                                       .n_heads = s->n_heads,
                                       .n_kv_heads = s->n_heads,
                                       .head_dim = E,
                                       .scale = 1.0f / sqrtf((float)E),
                                       .q = { both, W, W, E },
                                       .k = { k, key_batch, W, E },
                                       .v = { v, key_batch, W, E },
                                       .out = { spare, W, W, E } });
    op->linear(be, h, spare, &b->out_w, NULL, VR_ACT_NONE, h, places);
    op->layer_norm(be, h, h, b->norm_w, b->norm_b, places, W, s->epsilon);
    op->linear(be, spare, h, &b->fc1_w, NULL, VR_ACT_GELU, NULL, places);
    op->linear(be, q, spare, &b->fc2_w, NULL, VR_ACT_NONE, q, places);
    vr_arena_release(run->scratch, mark);
}

void vr_spatial_sampler_forward(const vr_spatial_sampler *s, vr_run *run, const float *const features[TOWERS],
                                const float *context, const vr_crop *open, int N, float *out)
{
    const int W = s->width, tokens = s->tower_side * s->tower_side, per_frame = s->query_side * s->query_side;
    const size_t mark = vr_arena_mark(run->scratch), rows = (size_t)N * (size_t)tokens;
    int32_t *ids = vr_arena_alloc(run->host, rows, sizeof *ids);
    const float *windows[TOWERS];
    for (int i = 0; i < TOWERS; i++) {
        float *made = vr_arena_floats(run->scratch, rows * (size_t)W);
        windows[i] = made;
        windows_make(s, run, features[i], N, made, ids);
    }
    const bool hides = !run->be->plan && hidden_ids(s, open, N, ids);
    run->be->ops->copy_rows(run->be, out, W, s->query, 0, N * per_frame, W);
    for (int l = 0; l < s->n_blocks; l++) {
        layer_forward(s, &s->blocks[l], run, windows, hides ? ids : NULL, context, N, out);
        vr_run_dump(run, out, 3, (const int64_t[3]){ N, per_frame, W }, "sampler.layer.%02d", l);
    }
    vr_arena_release(run->scratch, mark);
}
