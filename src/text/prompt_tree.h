/* prompt_tree.h - the tree of a prompt that changes over the steps. See prompt_schedule.h for the grammar.
 *
 * Nodes lie in one array and name each other by index: a prompt is read once and written out at any step. */
#ifndef KILN_TEXT_PROMPT_TREE_H
#define KILN_TEXT_PROMPT_TREE_H

#include "base/error.h"

#include <stddef.h>

typedef enum prompt_node_kind {
    PROMPT_TEXT,     /* bytes begin .. end of the prompt */
    PROMPT_LIST,     /* children one after another */
    PROMPT_EDITED,   /* children: before and after, both lists */
    PROMPT_ALTERNATE /* children: lists */
} prompt_node_kind;

typedef struct prompt_node {
    prompt_node_kind kind;
    int child, last, next; /* -1: none */
    size_t begin, end;
    double when;
    bool share; /* `when` is a share of the steps */
} prompt_node;

typedef struct prompt_tree {
    prompt_node *nodes; /* [0]: the whole prompt */
    int count, capacity;
    bool changes; /* false: the prompt is one text as it stands, and there are no nodes */
} prompt_tree;

kiln_status prompt_tree_of(const char *prompt, size_t length, prompt_tree *out, kiln_error *err);
void prompt_tree_free(prompt_tree *);

#endif
