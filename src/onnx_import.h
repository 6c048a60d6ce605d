/* onnx_import.h: what the files that turn a ModelProto into a program share.
 *
 * onnx_import.c    the model, its graphs: opsets, inputs, initializers, outputs
 * onnx_nodes.c     nodes and their attributes, calls of model-local functions inlined
 * onnx_attributes.c attributes
 * onnx_tensor.c    tensors, dense and sparse
 * onnx_external.c  the one place that opens a file named by a model
 * onnx_training.c  TrainingInfoProto
 * onnx_inference.c the forward model for --export
 *
 * Errors are collected: conversion goes on after most of them, and the program is dropped in the end.
 */
#ifndef ACTNN_ONNX_IMPORT_H
#define ACTNN_ONNX_IMPORT_H

#include "name_table.h"
#include "onnx_load.h"
#include "program.h"

typedef enum GraphRole { GRAPH_MAIN, GRAPH_ALGORITHM, GRAPH_INITIALIZATION } GraphRole;

typedef struct Import {
  Program *program;
  Diagnostics *diagnostics;
  const char *source;
  int directory;  /* descriptor of the model's folder; -1 when it cannot be opened */
  Arena *scratch; /* the unpacked message and what conversion needs meanwhile */
  Onnx__ModelProto *model;
  NameTable *values;         /* of the model's graph and of training algorithms, which share one scope */
  NameTable *initialization; /* names given to values of initialization graphs, to keep all names apart */
  NameTable *updated, *drawn; /* keys of update and initialization bindings, numbered as they come */
  NameTable *functions;
  struct Function *function;
  uint64_t dense_bytes_left;    /* for sparse tensors */
  uint64_t external_bytes_left; /* for external data */
  uint64_t expansion_left;      /* for functions, in nodes and the like */
  bool is_exhausted;            /* it was not enough: nothing more is inlined */
} Import;

/* reject(import, help, format, ...): reports an error of the file that is being read; false. */
#define reject(import, ...) report((import)->diagnostics, (import)->source, __VA_ARGS__)

/* A tensor's bytes in the program's arena: row-major, little-endian; strings one after the other, each ending in
 * NUL. data is NULL when the tensor holds none (and was allowed to). */
typedef struct TensorBytes {
  actnn_type type;
  Shape shape;
  void *data;
  size_t bytes;
} TensorBytes;

/* `what` names the tensor in messages. External data moves into the message, so that it can be exported.
 * `may_be_empty`: dimensions without any data are fine, the values come from an initialization graph. */
bool read_tensor(Import *import, Onnx__TensorProto *tensor, const char *what, bool may_be_empty,
                 TensorBytes *result);
bool read_sparse_tensor(Import *import, const Onnx__SparseTensorProto *sparse, const char *what, bool may_be_empty,
                        TensorBytes *result);
/* ONNX's element type; false after reporting when we do not have it. */
bool read_element_type(Import *import, int32_t number, const char *what, actnn_type *type);
bool is_floating(actnn_type type);
/* Dimensions of something that holds data: none negative, product bounded. */
bool read_dimensions(Import *import, const int64_t *dims, size_t count, const char *what, Shape *shape);

/* *bytes gets exactly `length` bytes of external data, in the program's arena; memory is reserved only after the
 * file was found to hold them. */
bool read_external_data(Import *import, const Onnx__TensorProto *tensor, const char *what, size_t length,
                        void **bytes);

/* Adds a value under a name; NO_VALUE after reporting that the name is taken. `maker` (may be NULL) is for that
 * message. */
ValueId declare_value(Import *import, NameTable *names, const char *name, ValueKind kind, actnn_type type,
                      Shape shape, const Onnx__NodeProto *maker);

/* Lists the model's functions. */
bool list_functions(Import *import);
/* Converts nodes whose names live in `names`, calls of functions inlined. Appended to the order as they come. */
void import_nodes(Import *import, NameTable *names, Onnx__NodeProto **nodes, size_t count, Phase phase);
/* "Conv 'layer1'", in scratch memory. */
const char *node_title(Import *import, const Onnx__NodeProto *node);

/* False after reporting. Lists are in scratch memory: set_attribute copies. */
bool convert_attribute(Import *import, const Onnx__AttributeProto *proto, const Onnx__NodeProto *node,
                       Attribute *attribute);
/* A node written by our own exporter says its phase in an attribute: that is no attribute of the operator. */
bool is_phase_attribute(const Onnx__AttributeProto *proto, Phase *phase);

/* A graph's initializers, inputs and nodes, then its outputs. */
void import_graph(Import *import, const Onnx__GraphProto *graph, GraphRole role, NameTable *names);

/* Notes the keys of all bindings, before any graph is imported. */
void list_bindings(Import *import);
/* Algorithms, then initialization graphs, then bindings. The main graph has been imported. */
void import_training(Import *import);
/* Gives every node its phase: what depends on a gradient runs in the backward phase, what depends on an update in the
 * update phase. The order must be sorted; it is sorted again. */
bool assign_phases(Import *import);

/* Edits `model` into its inference form and keeps it, serialized, in program->inference_model. */
bool make_inference_model(Program *program, Onnx__ModelProto *model, Arena *scratch);

#endif
