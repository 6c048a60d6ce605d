/* joined.h: a joined node (actnn.Pointwise) told as the nodes that it was made of, for people. */
#ifndef ACTNN_JOINED_H
#define ACTNN_JOINED_H

#include "operators.h"
#include "operators/pointwise_steps.h"

/* False of any other node, and of one whose steps cannot be read. */
bool joined_steps(const Node *node, pointwise_steps *steps);
/* The name in the model of the node that was a step; "": it had none. */
const char *joined_name(const Node *node, int step);
/* The row that a coder makes what it codes by; NULL of any other node. */
const char *coded_row_name(const Node *node);
/* The operator of the node that made a value, and that node's name, also where it is joined now; both "" where no node made it. */
void tell_maker(const Program *program, ValueId value, const char **operator_name, const char **node_name);

#endif
