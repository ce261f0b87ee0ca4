/*
 * stream.c - vidrun-bench --stream WEIGHTS: does a stream of ten hours cost what one of ten minutes costs?
 *
 *   made frames, one a second of the stream, as fast as they can be looked at -> after 1 min, 10 min, 1 h, 10 h:
 *   time of a frame, time of an answer, memory of the process
 *
 * Frames are pushed and questions asked in turns by one thread. An answer is 8 tokens long if the model does not end it before:
 * its prompt is what grows if anything does. How long a prompt is depends on what is seen just then (VideoLLaMB shows its last
 * scene whole), so a place is not one moment but eleven, spread over more than a minute from it on, and its figures are their
 * medians. Memory is what is resident, less the file's pages.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench.h"
#include "vidrun.h"

enum { SIDE = 128, N_ANSWERS = 11, APART = 7, N_FRAMES = 31 };

static const int places[] = { 60, 600, 3600, 36000 };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, compare);
    return times[n / 2];
}

/* Scenes of a minute: a colour, a square that moves over it, a little noise. */
static void draw(uint8_t *rgb, int64_t second, uint64_t *seed)
{
    const int scene = (int)(second / 60), left = (int)(second * 5 % (SIDE - 32));
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++) {
                const bool inside = x >= left && x < left + 32 && y >= 48 && y < 80;
                const int base = inside ? 220 - 40 * c : (scene * (37 + 16 * c) + 3 * y / 2) % 200;
                rgb[(y * SIDE + x) * 3 + c] = (uint8_t)(base + (int)(8.0F * bench_random(seed)) + 8);
            }
}

/* Bytes of memory of our own. */
static double resident(void)
{
    long size = 0, pages = 0, shared = 0;
    FILE *const file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld %ld", &size, &pages, &shared) != 3) pages = shared = 0;
    fclose(file);
    return (double)(pages - shared) * (double)sysconf(_SC_PAGESIZE);
}

/* Seconds of an answer; *n_rows: of its prompt. */
static int ask(vr_stream *stream, double *seconds, double *n_rows, vr_err *e)
{
    const vr_ask_options options = { .n_predict = 8, .sampling = { .top_p = 1, .repetition_penalty = 1 } };
    vr_answer answer;
    const double start = bench_seconds();
    VR_TRY(vr_stream_snapshot(stream, NULL, NULL, e));
    VR_TRY(vr_stream_ask(stream, "What is in the video?", &options, &answer, e));
    *seconds = bench_seconds() - start;
    *n_rows = answer.n_prompt_rows;
    return VR_OK;
}

static void print(const bench_run *run, int place, double frame, double answer, int n_rows)
{
    const double bytes = resident();
    if (run->format == BENCH_JSON)
        printf("{\"bench\":\"stream\",\"seconds\":%d,\"frame_ms\":%.4g,\"answer_ms\":%.4g,\"rows\":%d,\"resident_mb\":%.4g}\n",
               place, 1e3 * frame, 1e3 * answer, n_rows, bytes / (1 << 20));
    else if (run->format == BENCH_CSV)
        printf("stream,%d,%.4g,%.4g,%d,%.4g\n", place, 1e3 * frame, 1e3 * answer, n_rows, bytes / (1 << 20));
    else
        printf("stream %6d s  frame %9.3f ms  answer %9.3f ms  prompt %5d rows  memory %8.2f MB\n", place, 1e3 * frame,
               1e3 * answer, n_rows, bytes / (1 << 20));
    fflush(stdout);
}

typedef struct source {
    uint8_t *rgb;
    uint64_t seed;
    int64_t second;
    double times[N_FRAMES]; /* of the newest frames */
} source;

static int push(source *s, vr_stream *stream, int64_t until, vr_err *e)
{
    for (; s->second < until; s->second++) {
        vr_stream_event event;
        const vr_stream_frame frame = { s->rgb, SIDE, SIDE, s->second, (double)s->second, s->second };
        draw(s->rgb, s->second, &s->seed);
        const double start = bench_seconds();
        VR_TRY(vr_stream_push(stream, &frame, &event, e));
        s->times[s->second % N_FRAMES] = bench_seconds() - start;
    }
    return VR_OK;
}

static int follow(const bench_run *run, vr_stream *stream, uint8_t *rgb, vr_err *e)
{
    source s = { .rgb = rgb, .seed = 5 };
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        double answers[N_ANSWERS], rows[N_ANSWERS];
        for (int i = 0; i < N_ANSWERS; i++) {
            VR_TRY(push(&s, stream, places[p] + i * APART, e));
            VR_TRY(ask(stream, &answers[i], &rows[i], e));
        }
        print(run, places[p], median(s.times, N_FRAMES), median(answers, N_ANSWERS), (int)median(rows, N_ANSWERS));
    }
    return VR_OK;
}

int bench_stream(const bench_run *run, const char *weights, vr_err *e)
{
    const vr_model_options options = { .cpu = { .n_threads = run->n_threads, .level = run->level } };
    const vr_stream_options stream_options = { .captions = VR_CAPTIONS_OFF };
    vr_model *model = NULL;
    vr_stream *stream = NULL;
    uint8_t *rgb = malloc((size_t)SIDE * SIDE * 3);
    int rc = rgb ? vr_model_open(&model, weights, &options, e) : vr_fail(e, VR_ERR_LIMIT, "no memory for a frame");
    if (rc == VR_OK) rc = vr_stream_open(&stream, model, &stream_options, e);
    if (rc == VR_OK) rc = follow(run, stream, rgb, e);
    vr_stream_close(stream, NULL);
    vr_model_free(model);
    free(rgb);
    return rc;
}
