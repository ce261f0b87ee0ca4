/*
 * conversation.h - the turns of a session as a JSON file, and back.
 *
 *   {"vidrun":"conversation","format":1,"version":..,"system":..,"weights":..,"clip":..,"turns":[{"question":..,"answer":..}]}
 *
 * Only files named .json are written, so that a slip does not overwrite a clip; a file that is not of this form is refused whole,
 * before anything of the session changes. Errors are VR_ERR_USAGE and name the file.
 */
#ifndef VR_CONVERSATION_H
#define VR_CONVERSATION_H

#include "base/text.h"
#include "vidrun.h"

/* Written to FILE.part first: a full disk leaves the old file as it was. */
int vr_conversation_save(const char *path, const vr_session *session, const vr_recipe *recipe, const char *clip, vr_err *e);
/* The session's turns become those of the file; clip: what they are about. */
int vr_conversation_load(const char *path, vr_session *session, vr_text *clip, vr_err *e);

#endif
