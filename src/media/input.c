/*
 * input.c - see input.h.
 *
 *   open_descriptor -> fstat -> directory, device: refused;  pipe, socket: spool;  regular file: as it is
 *
 * Trap: standard input may be a regular file (vidrun w - < clip.mp4); it needs no copy, but only when nobody has read from it.
 */
#include "media/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static int temporary_file(const char *dir, const char *name, int *fd, vr_err *e)
{
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/vidrun-XXXXXX", dir);
    if (length < 0 || (size_t)length >= sizeof path) return vr_fail(e, VR_ERR_OTHER, "TMPDIR is longer than a path can be");
    *fd = mkstemp(path);
    if (*fd < 0) {
        return vr_fail(e, VR_ERR_OTHER, "%s: cannot make a temporary file in %s: %s (TMPDIR chooses the place)", name, dir,
                       strerror(errno));
    }
    unlink(path); /* lives as long as the descriptor */
    return VR_OK;
}

/* Replace *fd by a temporary file with everything that can be read from it. */
static int spool(int *fd, const char *name, vr_err *e)
{
    enum { CHUNK = 1 << 16 };
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir) dir = "/tmp";
    int copy = -1, cause;
    VR_TRY(temporary_file(dir, name, &copy, e));
    int rc = VR_OK;
    unsigned char *chunk = malloc(CHUNK);
    if (!chunk) rc = vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", name);
    while (rc == VR_OK) {
        const ssize_t n = read(*fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) break;
        if (n < 0) {
            rc = vr_fail(e, VR_ERR_VIDEO, "%s: cannot be read: %s", name, strerror(errno));
        } else if ((cause = vr_write_whole(copy, chunk, (size_t)n)) != 0) {
            rc =
                vr_fail(e, VR_ERR_OTHER, "%s: cannot be kept in %s: %s (TMPDIR chooses the place)", name, dir, strerror(cause));
        }
    }
    free(chunk);
    if (rc != VR_OK) {
        close(copy);
        return rc;
    }
    close(*fd);
    *fd = copy;
    return VR_OK;
}

static int open_descriptor(vr_input *input, const char *path, vr_err *e)
{
    const bool standard = strcmp(path, "-") == 0;
    input->fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (input->fd >= 0) return VR_OK;
    return vr_fail(e, VR_ERR_VIDEO, "%s: cannot be opened: %s", input->name, strerror(errno));
}

/* Make the descriptor one that pread can use, and learn its size. */
static int settle(vr_input *input, vr_err *e)
{
    struct stat st;
    if (fstat(input->fd, &st) != 0) return vr_fail(e, VR_ERR_VIDEO, "%s: %s", input->name, strerror(errno));
    if (S_ISDIR(st.st_mode)) return vr_fail(e, VR_ERR_VIDEO, "%s: is a directory, not a video file", input->name);
    if (S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(input->fd))) {
        char byte;
        if (read(input->fd, &byte, 1) == 0) return vr_fail(e, VR_ERR_VIDEO, "%s: is empty", input->name); /* /dev/null */
        return vr_fail(e, VR_ERR_VIDEO, "%s: is a device, not a video file", input->name);
    }
    if (!S_ISREG(st.st_mode) || lseek(input->fd, 0, SEEK_CUR) != 0) {
        VR_TRY(spool(&input->fd, input->name, e));
        if (fstat(input->fd, &st) != 0) return vr_fail(e, VR_ERR_OTHER, "%s: %s", input->name, strerror(errno));
    }
    input->size = (int64_t)st.st_size;
    if (input->size == 0) return vr_fail(e, VR_ERR_VIDEO, "%s: is empty", input->name);
    return VR_OK;
}

int vr_input_open(vr_input *out, const char *path, vr_err *e)
{
    *out = (vr_input){ .fd = -1 };
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    const size_t bytes = strlen(name) + 1;
    out->name = malloc(bytes);
    if (!out->name) return vr_fail(e, VR_ERR_LIMIT, "%s: out of memory", name);
    memcpy(out->name, name, bytes);
    int rc = open_descriptor(out, path, e);
    if (rc == VR_OK) rc = settle(out, e);
    if (rc != VR_OK) vr_input_close(out);
    return rc;
}

void vr_input_close(vr_input *input)
{
    if (input->fd >= 0) close(input->fd);
    free(input->name);
    *input = (vr_input){ .fd = -1 };
}
