/*
 * main.c - the program: see cli/run.c.
 */
#include "cli/run.h"

int main(int argc, char **argv)
{
    return vr_cli_run(argc, (const char *const *)argv);
}
