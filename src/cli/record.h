/*
 * record.h - what a run will do, needs and did: the plan line, the table of --estimate, the JSON object of a turn.
 *
 *   vr_plan -> one line | table | "plan":{..}          question, vr_answer, timings -> {"turn":1,"question":..,"answer":..}
 */
#ifndef VR_RECORD_H
#define VR_RECORD_H

#include <stdio.h>

#include "vidrun.h"

/* "decoding 8 of 1,432 frames, audio 8 clips, 40 video tokens, context 2048"; of a text model "text alone, context 4096".
 * Returns text. */
const char *vr_record_plan_line(const vr_plan *plan, char *text, size_t n_bytes);
/* "kept 17 of 35 frames, 1,180 of 2,244 tokens (mix: 3 frames at high resolution)"; "" where the system chooses nothing. Returns text. */
const char *vr_record_facts_line(const vr_facts *facts, char *text, size_t n_bytes);
void vr_record_plan_table(FILE *file, const vr_plan *plan);
void vr_record_plan_json(FILE *file, const vr_recipe *recipe, const vr_plan *plan);
void vr_record_perplexity(FILE *file, const vr_recipe *recipe, const vr_perplexity *found, bool json); /* one line */

typedef struct vr_record {
    int number; /* from 1 */
    const char *question;
    const vr_answer *answer;
    const vr_recipe *recipe;
    const vr_plan *plan;
    const vr_facts *facts; /* NULL: none are told */
    const vr_sampling *sampling;
    const vr_timing *timings; /* [n_timings] since the turn before */
    int n_timings;
} vr_record;

const char *vr_record_stop(vr_stop stop); /* "end", "length", "interrupted" */

/* One line. */
void vr_record_turn_json(FILE *file, const vr_record *record);

#endif
