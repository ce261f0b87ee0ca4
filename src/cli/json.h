/*
 * json.h - JSON values written one after the other; what is open is closed by the caller.
 *
 *   vr_json_open(&j, NULL, '{')  vr_json_text(&j, "answer", ..)  vr_json_close(&j, '}')  ->  {"answer":"..."}
 *
 * key: NULL inside an array and for the outermost value. Output is safe for terminals: control characters are escaped; other
 * text stays UTF-8, and bytes that are no UTF-8 become U+FFFD (RFC 8259 allows nothing else). Errors stay in the FILE.
 */
#ifndef VR_JSON_H
#define VR_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct vr_json {
    FILE *file; /* borrowed */
    bool comma; /* a value stands before the next one */
} vr_json;

void vr_json_open(vr_json *j, const char *key, char bracket);     /* '{' or '[' */
void vr_json_close(vr_json *j, char bracket);                     /* '}' or ']' */
void vr_json_text(vr_json *j, const char *key, const char *text); /* NULL: null */
void vr_json_int(vr_json *j, const char *key, int64_t value);
void vr_json_natural(vr_json *j, const char *key, uint64_t value);
void vr_json_bool(vr_json *j, const char *key, bool value);
void vr_json_number(vr_json *j, const char *key, double value); /* not finite: null */

#endif
