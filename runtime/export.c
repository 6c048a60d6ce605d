/* export.c: the trained model as ONNX.
 *
 * The emitted source carries a serialized ModelProto without the trained weights. Protobuf merges concatenated
 * messages, so the weights follow as a second ModelProto that holds nothing but
 * { graph (7): { initializer (5): { dims (1), data_type (2), name (8), raw_data (9) } ... } }. */
#include "atomic_file.h"
#include "trainer.h"

#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, BYTES = 2 }; /* wire types */

static size_t
put_varint(unsigned char *out, uint64_t value)
{
  size_t count = 0;
  do {
    unsigned char byte = value & 0x7f;
    value >>= 7;
    out[count++] = value ? byte | 0x80 : byte;
  } while (value);
  return count;
}

static size_t
put_key(unsigned char *out, unsigned field, unsigned wire_type, uint64_t value)
{
  size_t count = put_varint(out, field << 3 | wire_type);
  return count + put_varint(out + count, value);
}

static bool
is_exported(const actnn_variable *variable)
{
  return variable->role != ACTNN_OPTIMIZER && variable->role != ACTNN_FIXED && variable->name;
}

/* All of an initializer before its name: at most 8 dimensions of 11 bytes and a type. */
static size_t
put_shape(unsigned char *out, const actnn_tensor *tensor)
{
  size_t count = 0;
  for (int axis = 0; axis < tensor->rank; axis++)
    count += put_key(out + count, 1, VARINT, (uint64_t)tensor->dim[axis]);
  return count + put_key(out + count, 2, VARINT, tensor->type);
}

static uint64_t
initializer_bytes(const actnn_tensor *tensor, const char *name)
{
  unsigned char scratch[128];
  uint64_t data = trainer_elements(tensor) * trainer_type_bytes(tensor->type);
  return put_shape(scratch, tensor) + put_key(scratch, 8, BYTES, strlen(name)) + strlen(name) +
         put_key(scratch, 9, BYTES, data) + data;
}

/* False, with a message in the file's error or, of a device that cannot be read, in the trainer's. */
static bool
write_initializer(atomic_file *file, actnn *trainer, const actnn_variable *variable)
{
  const actnn_tensor *tensor = &trainer->model->tensor[variable->tensor];
  unsigned char head[160];
  size_t name_bytes = strlen(variable->name);
  uint64_t data_bytes = trainer_elements(tensor) * trainer_type_bytes(tensor->type);
  const void *data = actnn_data(trainer, variable->tensor);
  if (!data)
    return false;
  size_t count = put_key(head, 5, BYTES, initializer_bytes(tensor, variable->name));
  count += put_shape(head + count, tensor);
  count += put_key(head + count, 8, BYTES, name_bytes);
  if (!atomic_file_write(file, head, count) || !atomic_file_write(file, variable->name, name_bytes))
    return false;
  count = put_key(head, 9, BYTES, data_bytes);
  return atomic_file_write(file, head, count) && atomic_file_write(file, data, (size_t)data_bytes);
}

int
actnn_export(actnn *trainer, const char *path)
{
  const actnn_model *model = trainer->model;
  unsigned char head[32];
  uint64_t graph_bytes = 0;
  atomic_file file;
  if (!model->onnx || !model->onnx_bytes)
    return actnn_fail(trainer, "%s: the trainer was compiled without its ONNX model; it cannot export",
                      model->name);
  for (uint32_t index = 0; index < model->variable_count; index++)
    if (is_exported(&model->variable[index])) {
      const actnn_variable *variable = &model->variable[index];
      uint64_t bytes = initializer_bytes(&model->tensor[variable->tensor], variable->name);
      graph_bytes += put_key(head, 5, BYTES, bytes) + bytes;
    }
  if (graph_bytes + model->onnx_bytes > INT32_MAX)
    return actnn_fail(
        trainer, "%s: the model takes %.1f GiB, and an ONNX file holds 2; use --checkpoint for the weights",
        path, (double)(graph_bytes + model->onnx_bytes) / (1 << 30));
  bool done = atomic_file_open(&file, path) && atomic_file_write(&file, model->onnx, model->onnx_bytes) &&
              atomic_file_write(&file, head, put_key(head, 7, BYTES, graph_bytes));
  for (uint32_t index = 0; done && index < model->variable_count; index++)
    if (is_exported(&model->variable[index]))
      done = write_initializer(&file, trainer, &model->variable[index]);
  done = done && atomic_file_commit(&file, false);
  if (done)
    return 0;
  if (file.error[0])
    return actnn_fail(trainer, "%s", file.error);
  atomic_file_abandon(&file);
  return 1;
}
