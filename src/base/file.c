/*
 * file.c - see file.h.
 *
 * Trap: opening a pipe waits for its reader, and a device may act: of these the rights alone are looked at.
 * Trap: stdio gives up at EINTR and drops what its buffer held, so whatever a signal must not cut is written here.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int vr_write_whole(int file, const void *bytes, size_t n_bytes)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        const ssize_t n = write(file, from, n_bytes);
        if (n > 0) {
            from += n;
            n_bytes -= (size_t)n;
        } else if (n == 0) {
            return EIO;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) { /* a terminal that another program made non-blocking */
            struct pollfd waiting = { .fd = file, .events = POLLOUT };
            poll(&waiting, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

/* 0 or an errno. */
static int try_to_write(const char *path)
{
    struct stat there;
    if (stat(path, &there) == 0) {
        if (S_ISDIR(there.st_mode)) return EISDIR;
        return access(path, W_OK) == 0 ? 0 : errno;
    }
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) return errno;
    close(file);
    return unlink(path) == 0 ? 0 : errno;
}

int vr_file_check(const char *path, vr_err *e)
{
    const int why = try_to_write(path);
    return why == 0 ? VR_OK : vr_fail(e, VR_ERR_OTHER, "%s: cannot be written: %s", path, strerror(why));
}
