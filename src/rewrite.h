/* rewrite.h: what rewriting one node is made of, shared by canonicalize.c, canonicalize_compute.c and canonicalize_einsum.c. */
#ifndef ACTNN_REWRITE_H
#define ACTNN_REWRITE_H

#include "operators.h"

typedef bool RewriteFunction(Program *program, NodeId node);

/* Makes a node with one result right before `node` in the order; returns the result. */
ValueId make_before(Program *program, NodeId node, const char *domain, const char *operator_name,
                    const ValueId *operands, size_t operand_count);
/* The node that makes a value. */
NodeId maker_of(const Program *program, ValueId value);
/* Turns the node into another operator on other operands; results and attributes stay. */
void become(Program *program, NodeId node, const char *domain, const char *operator_name, const ValueId *operands,
            size_t operand_count);
/* Removes attributes, up to a NULL. */
void drop_attributes(Program *program, NodeId node, ...);
bool is_floating_value(const Value *value);

RewriteFunction rewrite_batch_normalization, rewrite_einsum, rewrite_gemm, rewrite_group_normalization, rewrite_matmul,
    rewrite_max_pool, rewrite_global_max_pool, rewrite_softmax, rewrite_resize, rewrite_upsample, rewrite_power,
    rewrite_variadic;

#endif
