/*
 * listen.c - see listen.h.
 *
 *   wave -> samples [at, at + n): those under the next frame, 200 before its place to 200 behind -> log_mel.h
 *   rows: log-mel of frames [row_first, row_first + n_rows), not yet brought to the range of the whole
 *
 * Trap:  the first frames reach before the sound, which is mirrored there without its edge: sample -i is sample i. Behind the
 *        sound there is silence, so that nothing is mirrored at the end (but sounds shorter than 200 samples mirror that).
 * Trap:  the original's last window is padded with the value 0 behind the sound's last frame, not with silence (which is
 *        below); the window that the language is found in holds silence there.
 */
#include "speech/listen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "speech/log_mel.h"
#include "speech/wave.h"

enum { ASKED = 1000 }; /* frames between two questions whether to go on */
enum { REACH = VR_LOG_MEL_WINDOW / 2, HELD = 16 * VR_LOG_MEL_WINDOW };

struct vr_listen {
    const vr_input *input;
    int bins, window;
    vr_log_mel *mel;
    int64_t n_samples;
    float loudest;
    /* of the pass under way */
    vr_wave *wave;
    float held[HELD]; /* samples [at, at + n_held) */
    int64_t at;
    int n_held;
    bool ended;
    int64_t frame; /* the next to be made */
    float *rows;   /* [window, bins] */
    int64_t row_first;
    int n_rows;
};

static int pass_begin(vr_listen *l, vr_err *e)
{
    vr_wave_free(l->wave);
    l->wave = NULL;
    l->at = l->frame = l->row_first = 0;
    l->n_held = l->n_rows = 0;
    l->ended = false;
    return vr_wave_open(&l->wave, l->input, e);
}

/* held reaches to `last`, or the sound has ended; samples before `first` are forgotten */
static int hold(vr_listen *l, int64_t first, int64_t last, vr_err *e)
{
    while (!l->ended && l->at + l->n_held < last) {
        const int64_t old = first - l->at < l->n_held ? first - l->at : l->n_held;
        if (old > 0) {
            memmove(l->held, l->held + old, (size_t)(l->n_held - old) * sizeof *l->held);
            l->at += old;
            l->n_held -= (int)old;
        }
        int n;
        VR_TRY(vr_wave_read(l->wave, l->held + l->n_held, HELD - l->n_held, &n, e));
        l->ended = n < HELD - l->n_held;
        l->n_held += n;
    }
    return VR_OK;
}

/* The next frame -> row [bins] */
static int frame_make(vr_listen *l, float *row, vr_err *e)
{
    const int64_t place = l->frame * VR_LOG_MEL_HOP, first = place > REACH ? place - REACH : 0;
    float window[VR_LOG_MEL_WINDOW];
    VR_TRY(hold(l, first, place + REACH + 1, e));
    for (int j = 0; j < VR_LOG_MEL_WINDOW; j++) {
        const int64_t sample = place - REACH + j, mirrored = sample < 0 ? -sample : sample;
        window[j] = mirrored < l->at + l->n_held ? l->held[mirrored - l->at] : 0;
    }
    vr_log_mel_frame(l->mel, window, row);
    l->frame++;
    return VR_OK;
}

/* Pass 1. */
static int measure(vr_listen *l, const vr_listen_config *c, vr_err *e)
{
    const vr_log *log = c->log;
    VR_TRY(pass_begin(l, e));
    l->loudest = -10; /* of silence */
    do {
        if (l->frame % ASKED == 0 && c->cancelled && c->cancelled(c->cookie)) return vr_fail(e, VR_ERR_CANCEL, "stopped");
        VR_TRY(frame_make(l, l->rows, e));
        for (int b = 0; b < l->bins; b++)
            if (l->rows[b] > l->loudest) l->loudest = l->rows[b];
    } while (!l->ended || l->frame * VR_LOG_MEL_HOP - REACH < l->at + l->n_held);
    l->n_samples = l->at + l->n_held;
    const char *cause = vr_wave_cause(l->wave);
    const long long n_bad = (long long)vr_wave_bad(l->wave);
    if (l->n_samples == 0) return vr_fail(e, VR_ERR_VIDEO, "%s: nothing of its sound can be decoded", l->input->name);
    if (n_bad > 0)
        vr_log_print(log, VR_LOG_WARN, "%s: packets of its sound that could not be decoded and are left out: %lld",
                     l->input->name, n_bad);
    if (cause)
        vr_log_print(log, VR_LOG_WARN, "%s: its sound ends after %.2f s: %s", l->input->name, vr_listen_seconds(l), cause);
    return VR_OK;
}

static int listen_open(vr_listen *l, const vr_listen_config *config, vr_err *e)
{
    VR_TRY(vr_log_mel_open(&l->mel, l->bins, e));
    VR_TRY(measure(l, config, e));
    return pass_begin(l, e);
}

int vr_listen_open(vr_listen **out, const vr_input *input, const vr_listen_config *config, vr_err *e)
{
    *out = NULL;
    vr_listen *l = calloc(1, sizeof *l);
    if (!l) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for its sound", input->name);
    l->input = input;
    l->bins = config->bins;
    l->window = config->window;
    l->rows = malloc((size_t)l->window * (size_t)l->bins * sizeof *l->rows);
    const int rc = l->rows ? listen_open(l, config, e) : vr_fail(e, VR_ERR_LIMIT, "%s: no memory for its sound", input->name);
    if (rc == VR_OK)
        *out = l;
    else
        vr_listen_free(l);
    return rc;
}

void vr_listen_free(vr_listen *l)
{
    if (!l) return;
    vr_wave_free(l->wave);
    vr_log_mel_free(l->mel);
    free(l->rows);
    free(l);
}

int64_t vr_listen_frames(const vr_listen *l)
{
    return l->n_samples / VR_LOG_MEL_HOP;
}

double vr_listen_seconds(const vr_listen *l)
{
    return (double)l->n_samples / VR_SPEECH_RATE;
}

/* rows hold frames [first, first + n) */
static int rows_make(vr_listen *l, int64_t first, int n, vr_err *e)
{
    const size_t row = (size_t)l->bins;
    const int64_t old = first - l->row_first < l->n_rows ? first - l->row_first : l->n_rows;
    assert(first >= l->row_first && n <= l->window);
    memmove(l->rows, l->rows + (size_t)old * row, (size_t)(l->n_rows - old) * row * sizeof *l->rows);
    l->n_rows -= (int)old;
    for (; l->n_rows == 0 && l->frame < first;) VR_TRY(frame_make(l, l->rows, e)); /* frames that no window holds */
    l->row_first = first;
    while (l->n_rows < n) {
        VR_TRY(frame_make(l, l->rows + (size_t)l->n_rows * row, e));
        l->n_rows++;
    }
    return VR_OK;
}

int vr_listen_window(vr_listen *l, int64_t first, int n, float *mel, vr_err *e)
{
    const size_t count = (size_t)n * (size_t)l->bins, all = (size_t)l->window * (size_t)l->bins;
    const float floor = l->loudest - 8.0F;
    VR_TRY(rows_make(l, first, n, e));
    for (size_t i = 0; i < count; i++) mel[i] = ((l->rows[i] > floor ? l->rows[i] : floor) + 4.0F) / 4.0F;
    memset(mel + count, 0, (all - count) * sizeof *mel);
    return VR_OK;
}
