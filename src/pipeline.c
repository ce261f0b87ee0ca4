/*
 * pipeline.c - the whole run on one screen: open, plan, watch. What is asked afterwards: ask.c.
 *
 *   weights -> system, tokenizer, decoder          vr_model_open
 *   video -> scan -> view, memory planned          vr_session_open
 *   frames and sound -> rows of the decoder        vr_session_watch
 *   question -> rows -> answer                     vr_session_ask (ask.c)
 *
 * The plan runs the code of the run over a backend that does nothing (kernels/backend.h) and so measures its scratch memory.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "device.h"
#include "systems/stock_text.h"

static const char *const precisions[] = { "f32", "bf16", "int8", "auto" }; /* vr_precision */
static const char *const kept_names[VR_KEPTS] = { "f32", "f16", "q8_0" };  /* vr_kept */

/* What the file proposes for streams. */
static int stream_recipe_read(vr_model *m, vr_err *e)
{
    vr_recipe *r = &m->recipe;
    float fps = 1;
    vr_string query;
    r->streams = m->system->stream != NULL;
    r->pieces = m->system->pieces;
    if (!r->streams) return VR_OK;
    if (vr_weights_has(m->weights, "video.fps")) VR_TRY(vr_weights_float(m->weights, &fps, e, "video.fps"));
    if (!(fps > 0)) return vr_fail(e, VR_ERR_WEIGHTS, "%s: video.fps is not above 0", vr_weights_path(m->weights));
    r->fps = (double)fps;
    if (!vr_weights_has(m->weights, "stream.query")) return VR_OK;
    VR_TRY(vr_weights_string(m->weights, &query, e, "stream.query"));
    VR_TRY(vr_text_append(&m->query, query.data, query.n_bytes, e));
    r->query = vr_text_string(&m->query);
    return VR_OK;
}

static int recipe_read(vr_model *m, vr_err *e)
{
    const vr_weights *w = m->weights;
    vr_recipe *r = &m->recipe;
    vr_string name;
    VR_TRY(vr_weights_string(w, &name, e, "general.name"));
    VR_TRY(vr_text_append(&m->name, name.data, name.n_bytes, e));
    VR_TRY(vr_prompt_names(w, &m->template_names, &m->template_default, e));
    VR_TRY(vr_weights_float(w, &r->sampling.temperature, e, "sampling.temperature"));
    VR_TRY(vr_weights_float(w, &r->sampling.top_p, e, "sampling.top_p"));
    VR_TRY(vr_weights_float(w, &r->sampling.repetition_penalty, e, "sampling.repetition_penalty"));
    VR_TRY(vr_weights_int(w, &r->sampling.top_k, 0, VR_MAX_VOCAB, e, "sampling.top_k"));
    VR_TRY(vr_weights_int(w, &r->n_predict, 1, VR_MAX_CONTEXT, e, "sampling.predict"));
    if (vr_weights_has(w, "prompt.rows_max")) VR_TRY(vr_weights_int(w, &m->rows_max, 2, VR_MAX_CONTEXT, e, "prompt.rows_max"));
    r->context = vr_llama_config_get(m->llama)->context;
    r->system = m->system->name;
    r->name = vr_text_string(&m->name);
    r->templates = vr_text_string(&m->template_names);
    r->template_name = vr_text_string(&m->template_default);
    r->cpu_level = vr_cpu_level(m->backend);
    r->precision = precisions[m->cpu.precision];
    r->kv = kept_names[m->kept];
    m->system->recipe(m->state, r);
    return stream_recipe_read(m, e);
}

static int model_bind(vr_model *m, int context, vr_err *e)
{
    vr_string name;
    int format;
    VR_TRY(vr_stock_text_adopt(m->weights, context, e));
    VR_TRY(vr_weights_int(m->weights, &format, 1, 1, e, "vidrun.format"));
    VR_TRY(vr_weights_string(m->weights, &name, e, "vidrun.system"));
    m->system = vr_system_find(name);
    if (!m->system)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: vidrun.system is none of: %s", vr_weights_path(m->weights), vr_system_names());
    VR_TRY(vr_system_open(m->system, &m->state, m->weights, e));
    m->llama = m->system->decoder(m->state);
    VR_TRY(vr_tokenizer_open(&m->tokenizer, m->weights, e));
    const int pieces = vr_tokenizer_vocab(m->tokenizer), rows = vr_llama_config_get(m->llama)->vocab;
    if (pieces > rows)
        return vr_fail(e, VR_ERR_WEIGHTS, "%s: %d tokens, but the table has %d rows", vr_weights_path(m->weights), pieces,
                       rows);
    return recipe_read(m, e);
}

/* What keys and values are kept in; a backend that does not know the type keeps f32. */
static vr_kept kept_choose(const vr_model *m, vr_kv kv)
{
    static const vr_kept named[] = { VR_KEPT_F32, VR_KEPT_F16, VR_KEPT_Q8 };
    const vr_kept automatic = m->cpu.precision == VR_PRECISION_F32 ? VR_KEPT_F32 : VR_KEPT_F16;
    const vr_kept wanted = kv == VR_KV_AUTO ? automatic : named[kv], kept = vr_kvcache_kept(m->backend, wanted);
    if (kept != wanted && kv != VR_KV_AUTO)
        vr_log_print(&m->hooks.log, VR_LOG_WARN, "%s keeps keys and values in f32 only", vr_cpu_level(m->backend));
    return kept;
}

int vr_model_open(vr_model **out, const char *path, const vr_model_options *options, vr_err *e)
{
    *out = NULL;
    vr_model *m = calloc(1, sizeof *m);
    if (!m) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the model");
    m->hooks = options->hooks;
    m->cpu = options->cpu;
    int rc = vr_layers_parse(options->gpu_layers, &m->n_layers_asked, e);
    if (rc == VR_OK) rc = vr_device_open(&m->backend, &m->device, options->device, &options->cpu, &m->hooks.log, e);
    if (rc == VR_OK && m->device < 0) m->cpu.level = vr_cpu_level(m->backend);
    if (rc == VR_OK) m->kept = kept_choose(m, options->kv);
    if (rc == VR_OK) rc = vr_weights_open(&m->weights, path, e);
    if (rc == VR_OK) rc = model_bind(m, options->n_context, e);
    if (rc != VR_OK) {
        vr_model_free(m);
        return rc;
    }
    vr_device_hold(m->backend, m->weights);
    const int n_unused = vr_weights_unused(m->weights, &m->hooks.log);
    if (n_unused) vr_log_print(&m->hooks.log, VR_LOG_WARN, "%s: %d tensors are not used", path, n_unused);
    *out = m;
    return VR_OK;
}

void vr_model_free(vr_model *m)
{
    if (!m) return;
    if (m->system) vr_system_close(m->system, m->state);
    vr_tokenizer_free(m->tokenizer);
    vr_weights_free(m->weights);
    vr_layers_free(&m->layers);
    vr_backend_free(m->backend);
    vr_text_free(&m->name);
    vr_text_free(&m->template_names);
    vr_text_free(&m->template_default);
    vr_text_free(&m->query);
    free(m);
}

void vr_model_recipe(const vr_model *model, vr_recipe *out)
{
    *out = model->recipe;
}

size_t vr_session_cache_bytes(const vr_session *s)
{
    const vr_kvcache_config cache = vr_llama_cache(s->model->llama, s->context, s->model->kept);
    return vr_kvcache_bytes(&cache);
}

void vr_session_answer_plan(const vr_session *s, vr_run *run)
{
    const vr_llama_config *c = vr_llama_config_get(s->model->llama);
    const size_t mark = vr_arena_mark(run->scratch);
    const vr_kvcache_config config = vr_llama_cache(s->model->llama, s->context, s->model->kept);
    vr_kvcache cache;
    vr_kvcache_plan(&cache, run->scratch, &config);
    const int T = s->context < VR_LLAMA_ROWS ? s->context : VR_LLAMA_ROWS;
    cache.n_rows = s->context - T; /* the last rows look at all */
    float *x = vr_arena_floats(run->scratch, (size_t)T * (size_t)c->width);
    vr_llama_forward(s->model->llama, run, &cache, NULL, x, T, x);
    vr_arena_release(run->scratch, mark);
    vr_generate_choose_plan(s->model->llama, run);
}

/* The run of watch and of the longest part of a prompt over a backend that does nothing: s->scratch_bytes, s->work_bytes. */
static int memory_plan(vr_session *s, vr_err *e)
{
    const vr_llama_config *c = vr_llama_config_get(s->model->llama);
    vr_backend *nothing;
    vr_arena counted;
    vr_view view = s->view;
    VR_TRY(vr_backend_open_plan_of(&nothing, s->model->backend, e));
    vr_arena_plan(&counted);
    vr_run run = { .be = nothing, .scratch = &counted, .host = &counted, .dump = s->dump };
    view.rows = vr_arena_floats(&counted, (size_t)(view.n_audio_rows + view.n_video_rows) * (size_t)c->width);
    vr_arena_floats(&counted, (size_t)c->vocab); /* logits */
    const vr_hooks silent = { 0 };
    int rc = s->source ? s->model->system->watch(s->model->state, &run, s->source, &view, &silent, e) : VR_OK;
    const size_t watched = vr_arena_mark(&counted); /* features stay */
    if (rc == VR_OK && s->model->system->show) {
        bool changed;
        const vr_question question = { .n_text = 1 };
        rc = s->model->system->show(s->model->state, &run, s->source, &view, &question, &changed, &silent, e);
        vr_arena_release(&counted, watched);
    }
    if (rc == VR_OK) vr_session_answer_plan(s, &run);
    if (view.features) s->model->system->features_free(view.features);
    s->scratch_bytes = counted.peak;
    s->work_bytes = vr_device_work(nothing, counted.peak);
    vr_backend_free(nothing);
    return rc;
}

int vr_session_memory_check(vr_session *s, size_t beside_bytes, vr_err *e)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const size_t needed = s->scratch_bytes + s->cache_bytes;
    const vr_kvcache_config cache = vr_llama_cache(s->model->llama, s->context, s->model->kept);
    VR_TRY(vr_layers_place(s->model, s->work_bytes + beside_bytes, &cache, e));
    VR_TRY(vr_rest_plan(s->model, s->context, &s->rest_bytes, e));
    if (pages <= 0 || page <= 0 || needed / (size_t)page < (size_t)pages) return VR_OK;
    return vr_fail(e, VR_ERR_LIMIT, "%zu MB of working memory are needed beside the weights; this machine has %zu MB",
                   needed >> 20, (size_t)pages * (size_t)page >> 20);
}

static int options_copy(vr_session *s, const vr_watch_options *o, vr_err *e)
{
    s->dump_turns = o->dump_turns;
    if (o->system_text) {
        s->system_text = strdup(o->system_text);
        if (!s->system_text) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the system text");
    }
    return VR_OK;
}

int vr_session_rule_check(const vr_model *model, vr_memory_rule rule, vr_err *e)
{
    if (rule == VR_MEMORY_ORIGINAL || model->system->paper_memory) return VR_OK;
    return vr_fail(e, VR_ERR_USAGE, "--memory paper: %s remembers in one way only", model->system->name);
}

/* What is looked at; nothing in a session of a text model. */
static int clip_plan(vr_session *s, const char *video, const vr_watch_options *options, vr_err *e)
{
    const vr_model *m = s->model;
    const double start = vr_clock();
    const bool blind = !m->system->plan;
    if (blind && !video) return VR_OK;
    if (blind) return vr_fail(e, VR_ERR_USAGE, "%s is a text model: it takes no video", vr_weights_path(m->weights));
    if (!video)
        return vr_fail(e, VR_ERR_USAGE, "%s is a model of the system %s, not a text model: it needs a video",
                       vr_weights_path(m->weights), m->system->name);
    if ((options->from > 0 || options->to > 0) && !m->system->pieces)
        return vr_fail(e, VR_ERR_USAGE, "%s looks at whole videos only", m->system->name);
    VR_TRY(vr_source_open(&s->source, video, &m->hooks.log, e));
    vr_source_info_get(s->source, &s->info);
    s->view.image = options->image || s->info.is_image;
    VR_TRY(m->system->plan(m->state, s->source, options, &s->view, e));
    vr_hooks_timing(&m->hooks, "scan", vr_clock() - start, s->info.n_frames, "frames");
    return VR_OK;
}

static int session_prepare(vr_session *s, const char *video, const vr_watch_options *options, const char *question, vr_err *e)
{
    const vr_model *m = s->model;
    VR_TRY(options_copy(s, options, e));
    VR_TRY(vr_session_rule_check(m, options->memory, e));
    VR_TRY(vr_prompt_open(&s->prompt, m->weights, options->template_name, m->tokenizer, e));
    VR_TRY(clip_plan(s, video, options, e));
    VR_TRY(vr_session_budget(s, question, options->n_predict ? options->n_predict : m->recipe.n_predict, e));
    if (options->dump_dir) VR_TRY(vr_dump_open(&s->dump, options->dump_dir, e));
    VR_TRY(memory_plan(s, e));
    s->cache_bytes = vr_session_cache_bytes(s);
    return vr_session_memory_check(s, 0, e);
}

int vr_session_open(vr_session **out, vr_model *model, const char *video, const vr_watch_options *options, const char *question,
                    vr_err *e)
{
    *out = NULL;
    vr_session *s = calloc(1, sizeof *s);
    if (!s) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the session");
    s->model = model;
    s->hooks = model->hooks;
    s->context = model->recipe.context;
    const int rc = session_prepare(s, video, options, question, e);
    if (rc != VR_OK) {
        vr_session_close(s, NULL);
        return rc;
    }
    *out = s;
    return VR_OK;
}

static void frames_dump(const vr_session *s)
{
    for (int i = 0; i < s->view.n_frames && !s->view.image; i++) {
        const int32_t index = (int32_t)s->view.frame_indices[i];
        vr_dump_i32(s->dump, "input.frame_indices", &index, 1, (const int64_t[1]){ 1 });
    }
}

int vr_session_memory_open(vr_session *s, vr_backend *be, vr_err *e)
{
    const vr_llama_config *c = vr_llama_config_get(s->model->llama);
    VR_TRY(vr_run_open(&s->run, be, &s->scratch, &s->host, s->scratch_bytes, e));
    const vr_kvcache_config cache = vr_llama_cache(s->model->llama, s->context, s->model->kept);
    VR_TRY(vr_rest_open(&s->rest, &s->run, &s->cache, s->model, &cache, s->rest_bytes, e));
    s->cached = malloc((size_t)s->context * sizeof *s->cached);
    s->positions = malloc((size_t)s->context * 3 * sizeof *s->positions);
    if (!s->cached || !s->positions) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the session");
    s->run.dump = s->dump;
    s->view.rows = vr_arena_floats(&s->scratch, (size_t)(s->view.n_audio_rows + s->view.n_video_rows) * (size_t)c->width);
    s->logits = vr_arena_floats(s->run.rest ? s->run.host : &s->scratch, (size_t)c->vocab);
    return VR_OK;
}

int vr_session_watch(vr_session *s, vr_err *e)
{
    vr_model *m = s->model;
    VR_TRY(vr_session_memory_open(s, m->backend, e));
    frames_dump(s);
    if (!s->source) return VR_OK;
    return m->system->watch(m->state, &s->run, s->source, &s->view, &s->hooks, e);
}

int vr_session_close(vr_session *s, vr_err *e)
{
    if (!s) return VR_OK;
    vr_session_reset(s);
    vr_prompt_free(s->prompt);
    vr_source_free(s->source);
    if (s->view.features) s->model->system->features_free(s->view.features);
    vr_view_free(&s->view);
    vr_kvcache_close(&s->cache);
    vr_rest_close(&s->rest);
    vr_arena_close(&s->scratch);
    vr_arena_close(&s->host);
    vr_answer_free(&s->answer_text);
    vr_text_free(&s->answer);
    vr_ids_free(&s->answer_ids);
    free(s->system_text);
    free(s->told);
    free(s->cached);
    free(s->positions);
    const int rc = vr_dump_close(s->dump, e);
    free(s);
    return rc;
}
