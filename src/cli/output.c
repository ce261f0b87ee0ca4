/*
 * output.c - see output.h.
 *
 * Trap: a model can be talked into answering escape sequences, and an error about a weight file holds names from the file. A
 *       terminal acts on C1 controls (U+009B is CSI) just as on ESC.
 */
#include "cli/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"

void vr_output_visible(FILE *file, const char *text, size_t n_bytes, const char *keep)
{
    while (n_bytes > 0) {
        uint32_t point = 0;
        const size_t n = vr_utf8_decode(text, n_bytes, &point);
        const size_t step = n ? n : 1;
        if (n == 0)
            fputs("\xEF\xBF\xBD", file);
        else if (point > 0 && point < 0x80 && strchr(keep, (int)point))
            fputc((int)point, file);
        else if (point < 0x20 || point == 0x7F)
            fprintf(file, "^%c", (int)(point ^ 0x40));
        else if (point > 0x7F && point < 0xA0)
            fprintf(file, "<U+%04" PRIX32 ">", point);
        else
            fwrite(text, 1, n, file);
        text += step, n_bytes -= step;
    }
}

void vr_output_open(vr_output *out, int file)
{
    *out = (vr_output){ .file = file, .terminal = isatty(file) == 1 };
}

static int write_visible(int file, const char *text, size_t n_bytes)
{
    char *visible = NULL;
    size_t n_visible = 0;
    FILE *const memory = open_memstream(&visible, &n_visible);
    if (!memory) return ENOMEM;
    vr_output_visible(memory, text, n_bytes, "\n\t");
    const bool whole = !ferror(memory);
    const int error = fclose(memory) == 0 && whole ? vr_write_whole(file, visible, n_visible) : ENOMEM;
    free(visible);
    return error;
}

bool vr_output_write(vr_output *out, const char *text, size_t n_bytes)
{
    if (out->error) return false;
    if (n_bytes == 0) return true;
    out->error = out->terminal ? write_visible(out->file, text, n_bytes) : vr_write_whole(out->file, text, n_bytes);
    out->line_open = text[n_bytes - 1] != '\n';
    return out->error == 0;
}

bool vr_output_end_line(vr_output *out, bool even_if_empty)
{
    return out->line_open || even_if_empty ? vr_output_write(out, "\n", 1) : out->error == 0;
}

int vr_output_result(const vr_output *out, const char *noun, vr_err *e)
{
    if (!out->error) return VR_OK;
    if (out->error == EPIPE) return vr_fail(e, VR_ERR_OTHER, "%s", "");
    return vr_fail(e, VR_ERR_OTHER, "cannot write %s: %s", noun, strerror(out->error));
}
