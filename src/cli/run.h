/*
 * run.h - the whole program, from argv to the exit status.
 */
#ifndef VR_CLI_RUN_H
#define VR_CLI_RUN_H

int vr_cli_run(int argc, const char *const *argv);

#endif
