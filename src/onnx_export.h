/* onnx_export.h: programs as ONNX models, for dumps, model viewers and `--export`. */
#ifndef ACTNN_ONNX_EXPORT_H
#define ACTNN_ONNX_EXPORT_H

#include "onnx.pb-c.h"
#include "program.h"

/* ONNX has one kind of initializer, and import takes floating ones for parameters. What we write says in the
 * tensor's doc_string when it is not one. */
#define CONSTANT_MARK "actnn: constant"
#define STATE_MARK "actnn: state"

/* The program as a ModelProto whose parts lie in `arena`; weights are not copied but pointed at.
 * Initialize nodes become TrainingInfo's initialization graph with its bindings, what replaces a variable an
 * update binding. Nodes of other phases than forward stand in the graph with a string attribute "phase", which
 * import reads back. Stashes are uint8 values. */
Onnx__ModelProto *program_to_model(const Program *program, Arena *arena);

/* A value's data as a tensor of that name. */
Onnx__TensorProto *value_to_tensor(const Program *program, ValueId id, const char *name, Arena *arena);
/* A value's element type and rank, extents left open; NULL when they are not known. */
Onnx__TypeProto *rank_to_type(const Value *value, Arena *arena);

/* Serializes. *bytes lies in `arena`. False after reporting that it would be larger than 2 GiB. */
bool pack_model(const Program *program, const Onnx__ModelProto *model, Arena *arena, unsigned char **bytes,
                size_t *length);

/* Writes the program as a .onnx file: to a temporary in the same folder, then renamed. */
bool write_onnx(const Program *program, const char *path);

/* To be called when it is settled which values are variables of the trainer: initializers that passes have turned into
 * constants are put back into program->inference_model, so that only the trainer's variables, parameters and states, are missing there. */
bool finish_inference_model(Program *program);

#endif
