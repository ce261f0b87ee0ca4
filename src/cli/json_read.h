/*
 * json_read.h - JSON values taken one after the other from text in memory.
 *
 *   vr_json_enter(&j, '{')  while (vr_json_next(&j, '}')) { vr_json_key(&j, &key)  vr_json_take_text | .._int | .._skip }
 *
 * Ref:  RFC 8259. Every function is false once anything was no JSON or not what was asked for; `wrong` then stays set, so one
 *       look at it in the end is enough.
 * Trap: a string with a zero character or half a surrogate pair is refused: C strings and UTF-8 have no place for them.
 */
#ifndef VR_JSON_READ_H
#define VR_JSON_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

typedef struct vr_json_in {
    const char *at, *end; /* borrowed */
    bool first;           /* nothing of the innermost object or array was taken yet */
    bool wrong;
} vr_json_in;

void vr_json_begin(vr_json_in *j, const char *data, size_t n_bytes);
bool vr_json_enter(vr_json_in *j, char bracket); /* '{' or '[' */
bool vr_json_next(vr_json_in *j, char bracket);  /* one more value; false: '}' or ']' was taken, or wrong */
bool vr_json_key(vr_json_in *j, vr_text *key);   /* replaces what key holds; the value follows */
bool vr_json_take_text(vr_json_in *j, vr_text *text);
bool vr_json_take_int(vr_json_in *j, int64_t *value);
bool vr_json_skip(vr_json_in *j); /* any value, at most 16 deep */
bool vr_json_end(vr_json_in *j);  /* only blanks are left */

#endif
