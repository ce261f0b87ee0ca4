/*
 * chat_text.h - the texts of VideoChat-Text, character by character: lists as it writes them, what its language model reads.
 *
 *   description -> "Second 1:a dog.\n Second 2:..." , "3-9second:  Today we walk.\n" -> prompt | document          answer <- output
 *
 * Ref:   OpenGVLab/Ask-Anything video_chat_text/video_chat_with_ChatGPT/app.py:46-100, chatbot.py:10-60 (langchain 0.0.101);
 *        branch long_video_support, video_chat/app.py, chatbot_lv.py.
 * Trap:  a "second" is the number of a sampled frame, from 1. Blanks and line ends belong to the texts, misspelt words too.
 * Trap:  the union of tags has no order in the original (it prints a set); here it is that of first appearance.
 * All functions append to out; VR_ERR_LIMIT without memory.
 */
#ifndef VR_CHAT_TEXT_H
#define VR_CHAT_TEXT_H

#include "describe/description.h"

int vr_chat_text_tags(const vr_notes *tags, vr_text *out, vr_err *e);     /* strings that are equal once */
int vr_chat_text_seconds(const vr_notes *captions, vr_text *out, vr_err *e); /* a caption a frame */
int vr_chat_text_dense(const vr_notes *dense, vr_text *out, vr_err *e);   /* of every fifth frame */
int vr_chat_text_time(const vr_note *note, vr_text *out, vr_err *e); /* "{int(start)}-{int(end)}second: {text}\n" */
int vr_chat_text_times(const vr_notes *notes, vr_text *out, vr_err *e);

/* What the model is told to be, and to do. */
extern const char vr_chat_text_task[], vr_chat_text_task_long[];

/* The whole prompt of a turn. history: of vr_chat_text_remember; question: as typed. */
int vr_chat_text_prompt(const vr_description *description, const char *history, const char *question, vr_text *out, vr_err *e);
/* What follows the last "AI:" of the model's output, without blanks at its ends, as it is remembered; empty where there is none,
 * which the original calls a failure. */
int vr_chat_text_answer(const char *output, vr_text *out, vr_err *e);
/* One more turn in the history; before that it is cut where it has 500 words or more. */
int vr_chat_text_remember(vr_text *history, const char *question, const char *answer, vr_err *e);
int vr_chat_text_trim(vr_text *history, vr_err *e);

/* The text that the branch with speech stores, and its prompts: pieces of the text and a question; a question that stands alone. */
int vr_chat_text_document(const vr_description *description, vr_text *out, vr_err *e);
int vr_chat_text_question(const char *context, const char *question, vr_text *out, vr_err *e);

#endif
