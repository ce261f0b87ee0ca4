/*
 * chat_forms.h - the well-known forms of chat templates, and how to tell which one a file means.
 *
 * A stock file holds its template as a program (Jinja), which is not run: marks in it tell the form, and the text is that of
 * the table. {eos} and {bos} are the file's own pieces.
 * Trap:  what a template does beside its form is lost: today's date (Llama 3.1), tools, a hidden line of thought. The system
 *        text that a chatml template sets by itself is found.
 */
#ifndef VR_CHAT_FORMS_H
#define VR_CHAT_FORMS_H

#include <stdbool.h>

#include "base/weights.h"

typedef struct vr_chat_form {
    const char *name;
    const char *marks[3];                            /* all must be in a template of this form; NULL: no more */
    const char *never;                               /* and this one must not; NULL: nothing */
    const char *first, *bare, *next, *open, *answer; /* bare: first, without a system text */
    const char *stop;                                /* a piece, or NULL */
    bool trim;
} vr_chat_form;

enum { VR_CHAT_FORMS = 7 };

extern const vr_chat_form vr_chat_forms[VR_CHAT_FORMS]; /* the last is plain: what is said and nothing else */

/* NULL: of no known form. An empty template is plain. */
const vr_chat_form *vr_chat_form_of(vr_string template);
/* The system text that a chatml template sets where the user gives none; empty: none. Borrowed from the template; a line end
 * may be spelled \n there. */
vr_string vr_chat_form_system(vr_string template);

#endif
