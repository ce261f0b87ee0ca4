/*
 * file.c - see file.h.
 *
 * Trap: stdio gives up at EINTR and drops what its buffer held, so whatever a signal must not cut is written here.
 */
#include "base/file.h"

#include <errno.h>
#include <poll.h>
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
