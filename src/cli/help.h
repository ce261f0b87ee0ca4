/*
 * help.h - texts made from the table of options.
 *
 *   vr_option_table -> --help | manual page (roff) | completion scripts of bash, zsh and fish | --version
 */
#ifndef VR_HELP_H
#define VR_HELP_H

#include <stdio.h>

void vr_help_write(FILE *file);
void vr_help_write_man(FILE *file);
void vr_help_write_completion(FILE *file, int shell); /* its place among the choices of --print-completion */
void vr_help_write_version(FILE *file);

#endif
