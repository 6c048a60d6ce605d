/* canonicalize.h: one spelling for each operator. Exporters and opset versions spell the same thing in many ways; the
 * table, the gradients and the kernels know one. */
#ifndef ACTNN_CANONICALIZE_H
#define ACTNN_CANONICALIZE_H

#include "operators.h"

/* Rewrites one node into the table's form, or does nothing. The types and shapes of its operands must be known. The
 * node itself stays and keeps its results, unless it was a Constant (its uses are replaced and it leaves the order);
 * nodes that it comes to read are inserted into the order right before it, their results not yet inferred. Doing
 * it again changes nothing. Reports and returns false on misuse. */
bool canonicalize_node(Program *program, NodeId node);
/* True for an operator that is not in the table but is rewritten into some that are. */
bool is_spelling(const char *domain, const char *operator_name);
/* The operators of ONNX that are rewritten, by number; NULL beyond the last. Some are in the table as well, in one form of several. */
const char *spelling_at(size_t number);

#endif
