/*
 * live.c - see live.h.
 *
 *   vr_live_stop -> a byte in a pipe of our own -> poll wakes -> the demuxer sees the end
 *
 * Trap:  containers with times in milliseconds show 0.333 for a third: a frame is taken up to EARLY seconds before its time.
 * Trap:  a named pipe without a writer would keep open() waiting; it is opened without blocking and polled.
 */
#include "media/live.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/decoder.h"
#include "media/scale.h"
#include "media/source_inside.h"

#define EARLY 0.001

struct vr_live {
    vr_input input;
    vr_log log;
    int stop[2]; /* pipe: a byte asks for the end */
    vr_decoder *decoder;
    vr_scaler *scaler;
    AVFrame *frame;
    uint8_t *rgb;
    size_t rgb_bytes;
    double fps;
    double next;    /* seconds: the first frame at or after this time is taken */
    double origin;  /* of the sender's clock */
    double last;    /* time of the frame before by the sender's clock */
    double usual;   /* seconds from frame to frame */
    double seconds; /* time of the last frame */
    bool begun;     /* a frame was decoded */
    bool ended;
    int width, height; /* of the last frame that was taken */
    int64_t n_jumps;
};

bool vr_live_is(const char *path)
{
    struct stat st;
    if ((strcmp(path, "-") == 0 ? fstat(STDIN_FILENO, &st) : stat(path, &st)) != 0) return false;
    return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
}

/* Waits for bytes; the end when the sender has gone or vr_live_stop was called. */
static int read_pipe(void *cookie, uint8_t *buffer, int n)
{
    const vr_live *l = cookie;
    struct pollfd waiting[2] = { { .fd = l->stop[0], .events = POLLIN }, { .fd = l->input.fd, .events = POLLIN } };
    for (;;) {
        if (poll(waiting, 2, -1) < 0) {
            if (errno == EINTR) continue;
            return AVERROR(errno);
        }
        if (waiting[0].revents) return AVERROR_EXIT;
        const ssize_t got = read(l->input.fd, buffer, (size_t)n);
        if (got > 0) return (int)got;
        if (got == 0) return AVERROR_EOF;
        if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) return AVERROR(errno);
    }
}

static int open_pipe(vr_live *l, const char *path, vr_err *e)
{
    const bool standard = strcmp(path, "-") == 0;
    l->input.name = strdup(standard ? "standard input" : path);
    l->frame = av_frame_alloc();
    if (!l->input.name || !l->frame) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", path);
    if (pipe(l->stop) != 0) return vr_fail(e, VR_ERR_OTHER, "%s: no pipe can be made: %s", l->input.name, strerror(errno));
    for (int i = 0; i < 2; i++) fcntl(l->stop[i], F_SETFD, FD_CLOEXEC);
    l->input.fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (l->input.fd < 0) return vr_fail(e, VR_ERR_VIDEO, "%s: cannot be opened: %s", l->input.name, strerror(errno));
    l->input.read_on = read_pipe;
    l->input.cookie = l;
    return VR_OK;
}

int vr_live_open(vr_live **out, const char *path, double fps, const vr_log *log, vr_err *e)
{
    *out = NULL;
    vr_live *l = calloc(1, sizeof *l);
    if (!l) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", path);
    l->input.fd = l->stop[0] = l->stop[1] = -1;
    l->fps = fps;
    if (log) l->log = *log;
    const int rc = open_pipe(l, path, e);
    if (rc == VR_OK) *out = l, l = NULL;
    vr_live_free(l);
    return rc;
}

void vr_live_free(vr_live *l)
{
    if (!l) return;
    vr_decoder_free(l->decoder);
    vr_scaler_free(l->scaler);
    av_frame_free(&l->frame);
    for (int i = 0; i < 2; i++)
        if (l->stop[i] >= 0) close(l->stop[i]);
    vr_input_close(&l->input);
    free(l->rgb);
    free(l);
}

void vr_live_stop(vr_live *l)
{
    const ssize_t n = write(l->stop[1], "", 1);
    (void)n; /* a full pipe says it all the same */
}

void vr_live_counts(const vr_live *l, int64_t *n_bad, int64_t *n_jumps)
{
    *n_bad = l->decoder ? l->decoder->n_bad : 0;
    *n_jumps = l->n_jumps;
}

/* On the first call: what comes through the pipe? */
static int begin(vr_live *l, vr_err *e)
{
    VR_TRY(vr_decoder_open(&l->decoder, &l->input, AVMEDIA_TYPE_VIDEO, e));
    const AVStream *stream = l->decoder->demuxer->format->streams[l->decoder->stream];
    const AVRational rate = stream->avg_frame_rate;
    l->usual = rate.num > 0 && rate.den > 0 ? av_q2d(av_inv_q(rate)) : 1 / l->fps;
    return vr_scaler_open(&l->scaler, l->input.name, vr_stream_turns(stream), e);
}

/* l->seconds of the frame that was just decoded */
static void tick(vr_live *l)
{
    const int64_t pts = l->frame->best_effort_timestamp;
    const double unit = av_q2d(l->decoder->demuxer->format->streams[l->decoder->stream]->time_base);
    const double time = pts != AV_NOPTS_VALUE ? (double)pts * unit : l->last + l->usual;
    if (!l->begun) l->origin = l->last = time;
    const double step = time - l->last;
    if (!(step >= 0 && step <= VR_LIVE_GAP)) {
        if (l->n_jumps++ == 0)
            vr_log_print(&l->log, VR_LOG_WARN, "%s: its clock jumps from %.3f to %.3f seconds; time goes on from %.3f",
                         l->input.name, l->last, time, l->seconds);
        l->origin += step - l->usual;
    } else if (step > 0) {
        l->usual = step;
    }
    l->last = time;
    const double seconds = time - l->origin;
    if (seconds > l->seconds) l->seconds = seconds;
    l->begun = true;
}

/* The frame as RGB */
static int take(vr_live *l, vr_live_frame *out, vr_err *e)
{
    int width, height;
    vr_scaler_turned_size(l->scaler, l->frame, &width, &height);
    const size_t n_bytes = (size_t)width * (size_t)height * 3;
    if (n_bytes > l->rgb_bytes) {
        uint8_t *grown = realloc(l->rgb, n_bytes);
        if (!grown) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for a frame of %d x %d", l->input.name, width, height);
        l->rgb = grown;
        l->rgb_bytes = n_bytes;
    }
    if (l->width && (l->width != width || l->height != height))
        vr_log_print(&l->log, VR_LOG_INFO, "%s: frames are %d x %d from %.3f seconds on", l->input.name, width, height,
                     l->seconds);
    l->width = width, l->height = height;
    VR_TRY(vr_scaler_run(l->scaler, l->rgb, width, height, l->frame, e));
    *out = (vr_live_frame){ l->rgb, width, height, l->seconds };
    l->next = (floor((l->seconds + EARLY) * l->fps) + 1) / l->fps;
    return VR_OK;
}

static int end(vr_live *l, vr_err *e)
{
    const int broken = l->decoder->broken;
    l->ended = true;
    if (broken == AVERROR_EXIT) return VR_OK;
    if (!l->begun) return vr_fail(e, VR_ERR_VIDEO, "%s: ended before a frame could be decoded", l->input.name);
    if (broken || l->decoder->n_bad)
        vr_log_print(&l->log, VR_LOG_WARN, "%s: %s%lld pieces of it could not be decoded", l->input.name,
                     broken ? "broke off; " : "", (long long)l->decoder->n_bad);
    return VR_OK;
}

static bool asked_to_stop(const vr_live *l)
{
    struct pollfd stop = { .fd = l->stop[0], .events = POLLIN };
    return poll(&stop, 1, 0) > 0;
}

int vr_live_next(vr_live *l, vr_live_frame *out, vr_err *e)
{
    *out = (vr_live_frame){ 0 };
    if (!l->decoder && !l->ended) {
        const int rc = begin(l, e);
        if (rc != VR_OK) {
            l->ended = true;
            return asked_to_stop(l) ? VR_OK : rc;
        }
    }
    while (!l->ended) {
        const int code = vr_decoder_next(l->decoder, l->frame);
        if (code == AVERROR(ENOMEM)) return vr_fail(e, VR_ERR_LIMIT, "%s: no memory for a frame", l->input.name);
        if (asked_to_stop(l)) {
            l->ended = true;
            return VR_OK;
        }
        if (code < 0) return end(l, e);
        tick(l);
        if (l->seconds + EARLY >= l->next) return take(l, out, e);
    }
    return VR_OK;
}
