/*
 * turns.c - the turns of a conversation: kept, told, taken over from an earlier one, forgotten.
 *
 *   question -> turn without an answer (ask.c answers it or takes it back)       earlier conversation -> whole turns
 *
 * Owner: the session owns copies of all texts.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

int vr_session_turn_push(vr_session *s, const char *question, vr_err *e)
{
    vr_turn *grown = realloc(s->turns, ((size_t)s->n_turns + 1) * sizeof *grown);
    if (grown) s->turns = grown;
    char *copy = grown ? strdup(question) : NULL;
    if (!copy) return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the question");
    s->turns[s->n_turns++] = (vr_turn){ .question = copy };
    return VR_OK;
}

void vr_session_turn_pop(vr_session *s)
{
    vr_turn *turn = &s->turns[--s->n_turns];
    free(turn->question);
    free(turn->answer);
}

void vr_session_reset(vr_session *s)
{
    while (s->n_turns > 0) vr_session_turn_pop(s);
    free(s->turns);
    s->turns = NULL;
    s->n_dropped_turns = 0;
}

int vr_session_turn_count(const vr_session *s)
{
    return s->n_turns;
}

void vr_session_turn(const vr_session *s, int i, const char **question, const char **answer)
{
    *question = s->turns[i].question;
    *answer = s->turns[i].answer;
}

int vr_session_turn_add(vr_session *s, const char *question, const char *answer, vr_err *e)
{
    VR_TRY(vr_session_turn_push(s, question, e));
    s->turns[s->n_turns - 1].answer = strdup(answer);
    if (s->turns[s->n_turns - 1].answer) return VR_OK;
    vr_session_turn_pop(s);
    return vr_fail(e, VR_ERR_LIMIT, "not enough memory for the answer");
}
