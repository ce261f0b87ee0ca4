/*
 * record.c - see record.h.
 *
 * Trap: names of JSON members are read by programs: they may be added to, never changed.
 */
#include "cli/record.h"

#include <string.h>

#include "cli/json.h"

/* 1234567 -> "1,234,567". */
static const char *group_digits(char text[32], int64_t value)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    char *to = text;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-') *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *vr_record_plan_line(const vr_plan *plan, char *text, size_t n_bytes)
{
    char total[32], sound[48] = "no audio";
    if (plan->n_frames == 0) {
        snprintf(text, n_bytes, "text alone, context %d", plan->context);
        return text;
    }
    if (plan->n_clips > 0) snprintf(sound, sizeof sound, "audio %d clips", plan->n_clips);
    snprintf(text, n_bytes, "decoding %d of %s frame%s, %s, %d video tokens, context %d", plan->n_frames,
             group_digits(total, plan->n_frames_total), plan->n_frames_total == 1 ? "" : "s", sound,
             plan->n_video_rows + plan->n_audio_rows, plan->context);
    return text;
}

const char *vr_record_facts_line(const vr_facts *facts, char *text, size_t n_bytes)
{
    char tokens[32], before[32], high[64] = "";
    *text = '\0';
    if (!facts->regime) return text;
    if (facts->n_scenes > 0) snprintf(high, sizeof high, ": %d", facts->n_scenes);
    if (strcmp(facts->regime, "mix") == 0)
        snprintf(high, sizeof high, ": %d frame%s at high resolution", facts->n_high, facts->n_high == 1 ? "" : "s");
    snprintf(text, n_bytes, "kept %d of %d frame%s, %s of %s tokens (%s%s)", facts->n_kept, facts->n_frames,
             facts->n_frames == 1 ? "" : "s", group_digits(tokens, facts->n_tokens),
             group_digits(before, facts->n_tokens_before), facts->regime, high);
    return text;
}

static void count_row(FILE *file, const char *what, int64_t count)
{
    char text[32];
    fprintf(file, "%-20s %12s\n", what, group_digits(text, count));
}

static void bytes_row(FILE *file, const char *what, size_t n_bytes)
{
    fprintf(file, "%-20s %12.1f MiB\n", what, (double)n_bytes / (1024 * 1024));
}

void vr_record_plan_table(FILE *file, const vr_plan *plan)
{
    const int seen = plan->n_video_rows + plan->n_audio_rows;
    const int used = plan->n_prompt_rows > 0 ? plan->n_prompt_rows : seen;
    count_row(file, "frames of the video", plan->n_frames_total);
    count_row(file, "frames decoded", plan->n_frames);
    count_row(file, "clips of sound", plan->n_clips);
    count_row(file, "video rows", plan->n_video_rows);
    count_row(file, "audio rows", plan->n_audio_rows);
    if (plan->n_prompt_rows > 0) count_row(file, "prompt rows", plan->n_prompt_rows);
    count_row(file, "context", plan->context);
    count_row(file, "context left", plan->context - used);
    bytes_row(file, "weights (mapped)", plan->weights_bytes);
    bytes_row(file, "scratch", plan->scratch_bytes);
    bytes_row(file, "cache", plan->cache_bytes);
    bytes_row(file, "rows", plan->rows_bytes);
    bytes_row(file, "total", plan->weights_bytes + plan->scratch_bytes + plan->cache_bytes + plan->rows_bytes);
    if (!plan->device) return;
    fprintf(file, "on %s\n", plan->device);
    count_row(file, "decoder layers", plan->n_layers);
    count_row(file, "layers there", plan->n_device_layers);
    count_row(file, "layers that fit", plan->n_fitting_layers);
    bytes_row(file, "needed there", plan->device_bytes);
    bytes_row(file, "free there", plan->device_free_bytes);
}

static void write_plan(vr_json *j, const vr_plan *plan)
{
    vr_json_open(j, "plan", '{');
    vr_json_int(j, "frames_total", plan->n_frames_total);
    vr_json_int(j, "frames", plan->n_frames);
    vr_json_open(j, "frame_indices", '[');
    for (int i = 0; i < plan->n_frames; i++) vr_json_int(j, NULL, plan->frame_indices[i]);
    vr_json_close(j, ']');
    vr_json_open(j, "frame_seconds", '[');
    for (int i = 0; i < plan->n_frames; i++) vr_json_number(j, NULL, plan->frame_seconds[i]);
    vr_json_close(j, ']');
    vr_json_int(j, "audio_clips", plan->n_clips);
    vr_json_int(j, "video_rows", plan->n_video_rows);
    vr_json_int(j, "audio_rows", plan->n_audio_rows);
    if (plan->n_prompt_rows > 0) vr_json_int(j, "prompt_rows", plan->n_prompt_rows);
    vr_json_int(j, "context", plan->context);
    vr_json_natural(j, "weights_bytes", plan->weights_bytes);
    vr_json_natural(j, "scratch_bytes", plan->scratch_bytes);
    vr_json_natural(j, "cache_bytes", plan->cache_bytes);
    vr_json_natural(j, "rows_bytes", plan->rows_bytes);
    if (plan->device) {
        vr_json_text(j, "device", plan->device);
        vr_json_int(j, "layers", plan->n_layers);
        vr_json_int(j, "device_layers", plan->n_device_layers);
        vr_json_int(j, "fitting_layers", plan->n_fitting_layers);
        vr_json_natural(j, "device_bytes", plan->device_bytes);
        vr_json_natural(j, "device_free_bytes", plan->device_free_bytes);
    }
    vr_json_close(j, '}');
}

static void write_model(vr_json *j, const vr_recipe *recipe)
{
    vr_json_text(j, "version", VIDRUN_VERSION);
    vr_json_text(j, "system", recipe->system);
    vr_json_text(j, "weights", recipe->name);
    vr_json_text(j, "cpu", recipe->cpu_level);
    vr_json_text(j, "precision", recipe->precision);
    vr_json_text(j, "kv", recipe->kv);
}

void vr_record_plan_json(FILE *file, const vr_recipe *recipe, const vr_plan *plan)
{
    vr_json j = { file, false };
    vr_json_open(&j, NULL, '{');
    write_plan(&j, plan);
    write_model(&j, recipe);
    vr_json_close(&j, '}');
    fputc('\n', file);
}

void vr_record_perplexity(FILE *file, const vr_recipe *recipe, const vr_perplexity *found, bool json)
{
    if (!json) {
        fprintf(file, "perplexity %.4f +- %.4f, %d of %d tokens\n", found->value, found->deviation, found->n_counted,
                found->n_tokens);
        return;
    }
    vr_json j = { file, false };
    vr_json_open(&j, NULL, '{');
    vr_json_number(&j, "perplexity", found->value);
    vr_json_number(&j, "deviation", found->deviation);
    vr_json_int(&j, "tokens", found->n_tokens);
    vr_json_int(&j, "counted", found->n_counted);
    vr_json_int(&j, "piece", found->n_rows);
    vr_json_number(&j, "seconds", found->seconds);
    write_model(&j, recipe);
    vr_json_close(&j, '}');
    fputc('\n', file);
}

const char *vr_record_stop(vr_stop stop)
{
    switch (stop) {
    case VR_STOP_END:
        return "end";
    case VR_STOP_LENGTH:
        return "length";
    case VR_STOP_CALLER:
        return "interrupted";
    }
    return "unknown";
}

static void write_rows(vr_json *j, const vr_answer *answer)
{
    vr_json_open(j, "ids", '{');
    vr_json_int(j, "prompt", answer->n_prompt_rows);
    vr_json_int(j, "reused", answer->n_reused_rows);
    vr_json_int(j, "dropped", answer->n_dropped_rows);
    vr_json_int(j, "dropped_turns", answer->n_dropped_turns);
    vr_json_int(j, "answer", answer->n_ids);
    vr_json_close(j, '}');
}

static void write_memory(vr_json *j, const vr_facts *facts)
{
    vr_json_open(j, "memory", '{');
    vr_json_int(j, "slots", facts->memory.n_slots);
    vr_json_int(j, "abstract", facts->memory.n_abstract);
    vr_json_open(j, "retrieved", '[');
    for (int i = 0; i < facts->memory.n_retrieved; i++) vr_json_int(j, NULL, facts->memory.retrieved[i]);
    vr_json_close(j, ']');
    vr_json_open(j, "frame_slots", '[');
    for (int i = 0; i < facts->n_frames; i++) vr_json_int(j, NULL, facts->frames[i].slot);
    vr_json_close(j, ']');
    vr_json_close(j, '}');
}

static void write_scenes(vr_json *j, const vr_facts *facts)
{
    vr_json_open(j, "scenes", '[');
    for (int i = 0; i < facts->n_scenes; i++) {
        vr_json_open(j, NULL, '{');
        vr_json_int(j, "first", facts->scenes[i].first);
        vr_json_int(j, "last", facts->scenes[i].last);
        if (i + 1 < facts->n_scenes) vr_json_number(j, "depth", (double)facts->scenes[i].depth);
        vr_json_bool(j, "shown", facts->scenes[i].shown);
        vr_json_close(j, '}');
    }
    vr_json_close(j, ']');
}

static void write_facts(vr_json *j, const vr_facts *facts)
{
    vr_json_open(j, "facts", '{');
    vr_json_text(j, "regime", facts->regime);
    vr_json_open(j, "steps", '[');
    for (int i = 0; i < facts->n_steps; i++) {
        vr_json_open(j, NULL, '{');
        vr_json_text(j, "step", facts->steps[i].name);
        vr_json_int(j, "before", facts->steps[i].before);
        vr_json_int(j, "after", facts->steps[i].after);
        vr_json_text(j, "unit", facts->steps[i].unit);
        vr_json_close(j, '}');
    }
    vr_json_close(j, ']');
    vr_json_int(j, "tokens_before", facts->n_tokens_before);
    vr_json_int(j, "tokens", facts->n_tokens);
    vr_json_open(j, "frames_kept", '[');
    for (int i = 0; i < facts->n_frames; i++)
        if (facts->frames[i].kept) vr_json_int(j, NULL, i);
    vr_json_close(j, ']');
    vr_json_open(j, "frames_high", '[');
    for (int i = 0; i < facts->n_frames; i++)
        if (facts->frames[i].high) vr_json_int(j, NULL, i);
    vr_json_close(j, ']');
    vr_json_open(j, "frame_tokens", '[');
    for (int i = 0; i < facts->n_frames; i++) vr_json_int(j, NULL, facts->frames[i].n_tokens);
    vr_json_close(j, ']');
    if (facts->memory.n_slots > 0) write_memory(j, facts);
    if (facts->n_scenes > 0) write_scenes(j, facts);
    vr_json_close(j, '}');
}

static void write_sampling(vr_json *j, const vr_sampling *sampling)
{
    vr_json_open(j, "sampling", '{');
    vr_json_number(j, "temperature", (double)sampling->temperature);
    vr_json_int(j, "top_k", sampling->top_k);
    vr_json_number(j, "top_p", (double)sampling->top_p);
    vr_json_number(j, "repetition_penalty", (double)sampling->repetition_penalty);
    vr_json_natural(j, "seed", sampling->seed);
    vr_json_close(j, '}');
}

static void write_timings(vr_json *j, const vr_timing *timings, int n)
{
    vr_json_open(j, "timings", '[');
    for (int i = 0; i < n; i++) {
        vr_json_open(j, NULL, '{');
        vr_json_text(j, "stage", timings[i].stage);
        vr_json_number(j, "seconds", timings[i].seconds);
        vr_json_int(j, "count", timings[i].count);
        vr_json_text(j, "unit", timings[i].count > 0 ? timings[i].unit : NULL);
        vr_json_close(j, '}');
    }
    vr_json_close(j, ']');
}

void vr_record_turn_json(FILE *file, const vr_record *record)
{
    vr_json j = { file, false };
    vr_json_open(&j, NULL, '{');
    vr_json_int(&j, "turn", record->number);
    vr_json_text(&j, "question", record->question);
    vr_json_text(&j, "answer", record->answer->text);
    vr_json_text(&j, "stop", vr_record_stop(record->answer->stop));
    write_rows(&j, record->answer);
    write_sampling(&j, record->sampling);
    write_plan(&j, record->plan);
    if (record->facts) write_facts(&j, record->facts);
    write_timings(&j, record->timings, record->n_timings);
    write_model(&j, record->recipe);
    vr_json_close(&j, '}');
    fputc('\n', file);
}
