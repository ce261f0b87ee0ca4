/*
 * line_edit.c - see line_edit.h.
 *
 * Trap: the library is never closed: what terminal databases it uses keep in memory of their own would be lost with it.
 * Trap: libedit reads on when a signal breaks its read; so it gets its characters from here, where Ctrl-C ends the line.
 */
#include "cli/line_edit.h"

#include <dlfcn.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/utf8.h"
#include "cli/interrupt.h"

/* histedit.h */
typedef struct editline EditLine;
typedef struct historyW HistoryW;
typedef struct history_event {
    int number;
    const wchar_t *text;
} history_event;
enum { EL_PROMPT = 0, EL_EDITOR = 2, EL_HIST = 10, EL_GETCFN = 13, H_SETSIZE = 1, H_ENTER = 10, H_SETUNIQUE = 20 };

enum { LINES_KEPT = 500 };

struct vr_line_edit {
    void *library;
    EditLine *(*init)(const char *program, FILE *in, FILE *out, FILE *err);
    void (*end)(EditLine *el);
    int (*set)(EditLine *el, int what, ...);
    const wchar_t *(*gets)(EditLine *el, int *n);
    HistoryW *(*history_init)(void);
    void (*history_end)(HistoryW *history);
    int (*history)(HistoryW *history, history_event *event, int what, ...);
    EditLine *el;
    HistoryW *lines;
};

static wchar_t *prompt(EditLine *el)
{
    static wchar_t text[] = L"> ";
    (void)el;
    return text;
}

/* One character of standard input; 0: the end, -1: Ctrl-C. A byte that belongs to no character is skipped. */
static int next_character(EditLine *el, wchar_t *out)
{
    char bytes[4];
    size_t n = 0;
    uint32_t point;
    (void)el;
    for (;;) {
        if (!vr_interrupt_wait(STDIN_FILENO)) return -1;
        const ssize_t got = read(STDIN_FILENO, bytes + n, 1);
        if (got < 0) return -1;
        if (got == 0) return 0;
        n++;
        if (vr_utf8_decode(bytes, n, &point) == n) break;
        if (n == sizeof bytes || (unsigned char)bytes[0] < 0xC2) n = 0;
    }
    *out = (wchar_t)point;
    return 1;
}

/* *function = the symbol; ISO C has no conversion from void * to a function. */
static bool find(const vr_line_edit *edit, const char *name, void *function)
{
    void *const symbol = dlsym(edit->library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool bind_library(vr_line_edit *edit)
{
    edit->library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
    return edit->library && find(edit, "el_init", &edit->init) && find(edit, "el_end", &edit->end) &&
           find(edit, "el_wset", &edit->set) && find(edit, "el_wgets", &edit->gets) &&
           find(edit, "history_winit", &edit->history_init) && find(edit, "history_wend", &edit->history_end) &&
           find(edit, "history_w", &edit->history);
}

static bool characters_are_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static bool begin(vr_line_edit *edit, FILE *in, FILE *out)
{
    history_event event;
    setlocale(LC_CTYPE, "");
    if (!characters_are_utf8()) setlocale(LC_CTYPE, "C.UTF-8");
    if (!characters_are_utf8() || !bind_library(edit)) return false;
    edit->el = edit->init("vidrun", in, out, out);
    edit->lines = edit->el ? edit->history_init() : NULL;
    return edit->lines && edit->history(edit->lines, &event, H_SETSIZE, LINES_KEPT) >= 0 &&
           edit->history(edit->lines, &event, H_SETUNIQUE, 1) >= 0 && edit->set(edit->el, EL_PROMPT, prompt) == 0 &&
           edit->set(edit->el, EL_EDITOR, L"emacs") == 0 && edit->set(edit->el, EL_HIST, edit->history, edit->lines) == 0 &&
           edit->set(edit->el, EL_GETCFN, next_character) == 0;
}

vr_line_edit *vr_line_edit_open(FILE *in, FILE *out)
{
    const char *const kind = getenv("TERM");
    if (!kind || !*kind || strcmp(kind, "dumb") == 0 || fileno(in) != STDIN_FILENO || isatty(fileno(out)) != 1) return NULL;
    vr_line_edit *const edit = calloc(1, sizeof *edit);
    if (edit && begin(edit, in, out)) return edit;
    vr_line_edit_close(edit);
    return NULL;
}

void vr_line_edit_close(vr_line_edit *edit)
{
    if (!edit) return;
    if (edit->lines) edit->history_end(edit->lines);
    if (edit->el) edit->end(edit->el);
    free(edit);
}

int vr_line_edit_read(vr_line_edit *edit, vr_question *question, vr_err *e)
{
    int n = 0;
    history_event event;
    const wchar_t *const line = edit->gets(edit->el, &n);
    if (!line && vr_interrupted()) return vr_fail(e, VR_ERR_CANCEL, "interrupted");
    question->line++;
    question->end = !line || n <= 0;
    if (question->end) return VR_OK;
    while (n > 0 && (line[n - 1] == L'\n' || line[n - 1] == L'\r')) n--;
    VR_TRY(vr_question_take(question, line, (size_t)n, e));
    if (!vr_question_blank(question)) edit->history(edit->lines, &event, H_ENTER, line);
    return VR_OK;
}
