/*
 * line_edit.h - a line typed on a terminal, with cursor keys and the lines before, by the libedit of this machine.
 *
 *   libedit.so.2 (dlopen) -> "> " on standard error -> line in UTF-8        not there, or TERM=dumb: NULL, lines are read plainly
 *
 * libedit is looked for when a conversation begins, so that the program runs without it and needs no headers of it.
 * Ref:   histedit.h of libedit 3.1: the functions and numbers declared in line_edit.c are its ABI.
 * Trap:  libedit speaks wchar_t by the locale's rules: the locale of characters is set to the user's, or to C.UTF-8 where that
 *        knows no UTF-8; numbers stay as they are.
 */
#ifndef VR_LINE_EDIT_H
#define VR_LINE_EDIT_H

#include <stdio.h>

#include "cli/questions.h"

typedef struct vr_line_edit vr_line_edit;

/* in, out: a terminal both; borrowed. NULL: nothing to edit with. */
vr_line_edit *vr_line_edit_open(FILE *in, FILE *out);
void vr_line_edit_close(vr_line_edit *edit); /* NULL is legal */
/* Next line, as vr_question_read_line; VR_ERR_CANCEL after Ctrl-C, the line is then forgotten. */
int vr_line_edit_read(vr_line_edit *edit, vr_question *question, vr_err *e);

#endif
