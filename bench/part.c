/*
 * part.c - see part.h.
 *
 *   floor: products at the rate of the FMA probe, twice for bf16, four times for quantised weights; or the bytes of weights and
 *   cache at the rate of the read probe
 *
 * Trap:  a file that is not in memory yet is read by the first call, which no round counts.
 */
#include "bench/part.h"

#include <stdio.h>
#include <string.h>

#include "base/stock.h"
#include "base/strips.h"

static bool holds(vr_string s, const char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i + n <= s.n_bytes; i++) {
        if (memcmp(s.data + i, text, n) == 0) return true;
    }
    return false;
}

void part_count(part_matrices *m, const vr_weights *w, const char *prefix, const char *within)
{
    const size_t n = strlen(prefix);
    for (int i = 0; i < vr_weights_n_tensors(w); i++) {
        vr_weights_tensor t;
        vr_weights_tensor_at(w, i, &t);
        if (t.n_dims != 2 || t.name.n_bytes < n || memcmp(t.name.data, prefix, n) != 0) continue;
        if (within && !holds(t.name, within)) continue;
        m->numbers += (double)t.shape[0] * (double)t.shape[1], m->bytes += (double)t.n_bytes;
        m->type = (vr_dtype)t.type;
        if (vr_is_strips(vr_is_stock(t.type) ? vr_stock_target(m->type) : m->type)) m->quantised = true;
    }
}

int part_key(const vr_weights *w, const char *prefix, const char *name)
{
    int value;
    vr_err none = { 0 };
    return vr_weights_int(w, &value, 0, 1 << 24, &none, "%s.%s", prefix, name) == VR_OK ? value : 0;
}

static part_matrices blocks(const vr_weights *w, const char *prefix, const char *within)
{
    char name[64];
    part_matrices m = { 0 };
    snprintf(name, sizeof name, "%s.blk.", prefix);
    part_count(&m, w, name, within);
    return m;
}

/* T rows that all look at each other */
static double transformer(const vr_weights *w, const char *prefix, double T)
{
    const double seen = 4.0 * T * T * part_key(w, prefix, "embedding_length") * part_key(w, prefix, "block_count");
    return 2.0 * T * blocks(w, prefix, NULL).numbers + seen;
}

double part_tower(const vr_weights *w, const char *prefix)
{
    const int patch = part_key(w, prefix, "patch_size"), side = patch ? part_key(w, prefix, "image_size") / patch : 0;
    return side ? transformer(w, prefix, (double)side * side + 1.0) : 0.0;
}

double part_imagebind(const vr_weights *w)
{
    const int patch = part_key(w, "imagebind", "patch_size"), stride = part_key(w, "imagebind", "patch_stride");
    const int bins = part_key(w, "audio", "mel_bins"), columns = part_key(w, "audio", "mel_frames");
    if (!patch || !stride || bins < patch || columns < patch) return 0.0;
    return transformer(w, "imagebind", (double)((bins - patch) / stride + 1) * ((columns - patch) / stride + 1) + 1.0);
}

double part_qformer(const vr_weights *w, const char *prefix, int R)
{
    const double Q = part_key(w, prefix, "query_count"), D = part_key(w, prefix, "embedding_length");
    const int n = part_key(w, prefix, "block_count"), interval = part_key(w, prefix, "cross_interval");
    if (!interval) return 0.0;
    const double looked = blocks(w, prefix, ".cross.k.").numbers + blocks(w, prefix, ".cross.v.").numbers;
    const double pairs = n * Q + (double)((n + interval - 1) / interval) * R;
    return 2.0 * (Q * (blocks(w, prefix, NULL).numbers - looked) + R * looked) + 4.0 * Q * D * pairs;
}

const char *part_type_name(vr_dtype type)
{
    switch (type) {
    case VR_DTYPE_Q8_0:
    case VR_DTYPE_Q8_R16:
        return "q8";
    case VR_DTYPE_Q4_0:
    case VR_DTYPE_Q4_R16:
        return "q4";
    case VR_DTYPE_Q4_1:
    case VR_DTYPE_Q4M_R16:
        return "q4_1";
    default:
        return type == VR_DTYPE_F32 ? "f32" : type == VR_DTYPE_F16 ? "f16" : "bf16";
    }
}

part_matrices part_decoder(const vr_weights *w)
{
    part_matrices m = { 0 };
    part_count(&m, w, "output.weight", NULL);
    if (m.numbers <= 0.0) part_count(&m, w, "token_embd.weight", NULL); /* the head is the table */
    part_count(&m, w, "blk.", NULL);
    return m;
}

static double call_floor(void *arg)
{
    const part *p = arg;
    return p->bytes > 0 ? p->bytes / bench_probe_read(p->run) : p->operations / (p->rate * bench_probe_fma(p->run));
}

static double call_part(void *arg)
{
    part *p = arg;
    const size_t mark = vr_arena_mark(&p->scratch);
    const double start = bench_seconds();
    p->forward(p->model, &p->pass);
    const double time = bench_seconds() - start;
    vr_arena_release(&p->scratch, mark);
    return time;
}

/* Scratch memory: the same code over a backend that does nothing. */
static int plan(part *p, vr_backend *be, vr_err *e)
{
    vr_arena counted;
    vr_backend *nothing;
    VR_TRY(vr_backend_open_plan(&nothing, e));
    vr_arena_plan(&counted);
    p->forward(p->model, &(vr_run){ .be = nothing, .scratch = &counted, .host = &counted });
    vr_backend_free(nothing);
    VR_TRY(vr_arena_open(&p->scratch, counted.peak, e));
    p->pass = (vr_run){ .be = be, .scratch = &p->scratch, .host = &p->scratch };
    return VR_OK;
}

int part_measure(bench_run *run, vr_backend *be, part *p, bench_group *g, vr_err *e)
{
    p->run = run;
    VR_TRY(plan(p, be, e));
    const unsigned floor = 1u << g->n_ways;
    bench_add(g, BENCH_FLOOR, "probe", call_floor, p);
    bench_way *own = bench_add(g, BENCH_OWN, p->form ? p->form : g->shape, call_part, p);
    own->bytes = p->bytes, own->operations = p->bytes > 0 ? 0.0 : p->operations, own->floors = floor;
    own->units = p->units, own->unit = p->unit;
    own->n_threads = run->n_threads;
    snprintf(own->level, sizeof own->level, "%s", vr_cpu_level(be));
    bench_measure(run, g);
    vr_arena_close(&p->scratch);
    return VR_OK;
}
