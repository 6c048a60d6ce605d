/* onnx_attributes.c: AttributeProto to Attribute. */
#include "onnx_import.h"

#include <string.h>

static Onnx__AttributeProto__AttributeType
attribute_type(const Onnx__AttributeProto *attribute)
{
  /* The oldest files leave the type to be seen from the field in use. */
  if (attribute->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED) return attribute->type;
  if (attribute->has_f) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
  if (attribute->has_i) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  if (attribute->has_s) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
  if (attribute->t) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
  if (attribute->g) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
  if (attribute->n_floats) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
  if (attribute->n_ints) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  if (attribute->n_strings) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
  if (attribute->n_graphs) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS;
  return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED;
}

static const char *
attribute_string(Import *import, const ProtobufCBinaryData *bytes)
{
  if (bytes->len && memchr(bytes->data, 0, bytes->len)) return NULL;
  return arena_text(import->scratch, bytes->len ? (const char *)bytes->data : "", bytes->len);
}

static bool
convert_strings(Import *import, const Onnx__AttributeProto *proto, Attribute *attribute)
{
  const char **strings = arena_array(import->scratch, proto->n_strings + 1, sizeof *strings);
  for (size_t i = 0; i < proto->n_strings; i++) {
    strings[i] = attribute_string(import, &proto->strings[i]);
    if (!strings[i]) return false;
  }
  attribute->kind = ATTRIBUTE_STRINGS;
  attribute->strings = strings;
  attribute->count = proto->n_strings;
  return true;
}

static bool
convert_tensor(Import *import, const Onnx__AttributeProto *proto, const Onnx__NodeProto *node, Attribute *attribute)
{
  bool is_sparse = proto->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR;
  const char *what = arena_format(import->scratch, "%s: attribute %s", node_title(import, node),
                                  safe_name(import->scratch, attribute->name));
  TensorBytes tensor;
  if (is_sparse ? !proto->sparse_tensor : !proto->t) return reject(import, NULL, "%s holds no tensor", what);
  if (is_sparse ? !read_sparse_tensor(import, proto->sparse_tensor, what, false, &tensor)
                : !read_tensor(import, proto->t, what, false, &tensor))
    return false;
  ValueId id = add_value(import->program, NULL, VALUE_CONSTANT, tensor.type, tensor.shape);
  value_at(import->program, id)->data = tensor.data;
  value_at(import->program, id)->data_bytes = tensor.bytes;
  attribute->kind = ATTRIBUTE_TENSOR;
  attribute->tensor = id;
  return true;
}

bool
convert_attribute(Import *import, const Onnx__AttributeProto *proto, const Onnx__NodeProto *node,
                  Attribute *attribute)
{
  *attribute = (Attribute){.name = proto->name, .tensor = NO_VALUE};
  double *floats;
  switch (attribute_type(proto)) {
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    attribute->kind = ATTRIBUTE_INT;
    attribute->i = proto->i;
    return true;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    attribute->kind = ATTRIBUTE_FLOAT;
    attribute->f = (double)proto->f;
    return true;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
    attribute->kind = ATTRIBUTE_STRING;
    attribute->s = attribute_string(import, &proto->s);
    if (attribute->s) return true;
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
    attribute->kind = ATTRIBUTE_INTS;
    attribute->ints = proto->ints;
    attribute->count = proto->n_ints;
    return true;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
    floats = arena_array(import->scratch, proto->n_floats + 1, sizeof *floats);
    for (size_t i = 0; i < proto->n_floats; i++) floats[i] = (double)proto->floats[i];
    attribute->kind = ATTRIBUTE_FLOATS;
    attribute->floats = floats;
    attribute->count = proto->n_floats;
    return true;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
    if (convert_strings(import, proto, attribute)) return true;
    break;
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR: return convert_tensor(import, proto, node, attribute);
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
  case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS:
    return reject(import, "unroll loops and fold conditions before exporting",
                  "%s: control flow is not supported (attribute %s holds a graph)", node_title(import, node),
                  safe_name(import->scratch, proto->name));
  default:
    return reject(import, NULL, "%s: attribute %s has type %d, which is not supported", node_title(import, node),
                  safe_name(import->scratch, proto->name), (int)attribute_type(proto));
  }
  return reject(import, NULL, "%s: attribute %s contains a NUL byte", node_title(import, node),
                safe_name(import->scratch, proto->name));
}

bool
is_phase_attribute(const Onnx__AttributeProto *proto, Phase *phase)
{
  if (strcmp(proto->name, "phase") || !proto->has_s) return false;
  for (Phase known = PHASE_INITIALIZE; known < PHASE_COUNT; known++) {
    const char *name = phase_name(known);
    if (strlen(name) == proto->s.len && !memcmp(name, proto->s.data, proto->s.len)) {
      *phase = known;
      return true;
    }
  }
  return false;
}
