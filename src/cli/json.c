/*
 * json.c - see json.h.
 *
 * Ref:  RFC 8259, sections 7 (strings) and 8.1 (UTF-8).
 * Trap: printf's %g writes "inf" and "nan", which JSON has no word for.
 * Trap: options are floats: more than 7 digits would show 0.9 as 0.899999976.
 * Trap: U+007F..U+009F are legal in JSON but act on terminals: escaped too.
 */
#include "cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/utf8.h"

static void write_point(FILE *file, const char *s, size_t n, uint32_t point)
{
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *const found = n == 1 && point ? strchr(named, (int)point) : NULL;
    if (n == 0)
        fputs("\xEF\xBF\xBD", file); /* U+FFFD */
    else if (found)
        fprintf(file, "\\%c", letters[found - named]);
    else if (point < 0x20 || (point >= 0x7F && point < 0xA0))
        fprintf(file, "\\u%04" PRIx32, point);
    else
        fwrite(s, 1, n, file);
}

static void write_string(FILE *file, const char *text)
{
    size_t n_left = strlen(text);
    fputc('"', file);
    while (n_left > 0) {
        uint32_t point = 0;
        const size_t n = vr_utf8_decode(text, n_left, &point);
        write_point(file, text, n, point);
        const size_t step = n ? n : 1;
        text += step, n_left -= step;
    }
    fputc('"', file);
}

/* What stands before a value: a comma unless it is the first, and its key. */
static void begin(vr_json *j, const char *key)
{
    if (j->comma) fputc(',', j->file);
    if (key) write_string(j->file, key), fputc(':', j->file);
    j->comma = true;
}

void vr_json_open(vr_json *j, const char *key, char bracket)
{
    begin(j, key);
    fputc(bracket, j->file);
    j->comma = false;
}

void vr_json_close(vr_json *j, char bracket)
{
    fputc(bracket, j->file);
    j->comma = true;
}

void vr_json_text(vr_json *j, const char *key, const char *text)
{
    begin(j, key);
    if (text)
        write_string(j->file, text);
    else
        fputs("null", j->file);
}

void vr_json_int(vr_json *j, const char *key, int64_t value)
{
    begin(j, key);
    fprintf(j->file, "%" PRId64, value);
}

void vr_json_natural(vr_json *j, const char *key, uint64_t value)
{
    begin(j, key);
    fprintf(j->file, "%" PRIu64, value);
}

void vr_json_bool(vr_json *j, const char *key, bool value)
{
    begin(j, key);
    fputs(value ? "true" : "false", j->file);
}

void vr_json_number(vr_json *j, const char *key, double value)
{
    begin(j, key);
    if (isfinite(value))
        fprintf(j->file, "%.7g", value);
    else
        fputs("null", j->file);
}
