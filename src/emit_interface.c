/* emit_interface.c: the trainer as a library and as a program: functions that are the same words for every model but for its name, and the
 * header that declares them. */
#include "emit.h"

void
emit_interface(Text *text, const char *n)
{
  text_append(text, "actnn *\n%s_create(int threads, uint64_t seed, char *error, size_t error_bytes)\n{\n"
                    "  return actnn_create(&%s_model, threads, seed, error, error_bytes);\n}\n\n", n, n);
  text_append(text, "int\n%s_step(actnn *trainer, double learning_rate, double *loss)\n{\n"
                    "  return actnn_step(trainer, learning_rate, loss);\n}\n\n", n);
  text_append(text, "int\n%s_evaluate(actnn *trainer, double *loss)\n{\n  return actnn_evaluate_batch(trainer, loss);\n}\n\n", n);
  text_append(text, "int\n%s_save(actnn *trainer, const char *path)\n{\n  return actnn_save_checkpoint(trainer, path);\n}\n\n", n);
  text_append(text, "int\n%s_load(actnn *trainer, const char *path)\n{\n  return actnn_load(trainer, path);\n}\n\n", n);
  text_append(text, "void\n%s_destroy(actnn *trainer)\n{\n  actnn_destroy(trainer);\n}\n\n", n);
  text_append(text, "#ifndef ACTNN_NO_MAIN\nint\nmain(int argc, char **argv)\n{\n  return actnn_main(&%s_model, argc, argv);\n}\n#endif\n", n);
}

char *
emit_header(const char *name, Arena *arena, size_t *length)
{
  Text text = {.arena = arena};
  text_append(&text, "/* %s.h: the trainer as a library (build %s.c with -DACTNN_NO_MAIN); see actnn.h for what each function promises. */\n"
                     "#ifndef %s_TRAINER_H\n#define %s_TRAINER_H\n\n#include <actnn.h>\n\n", name, name, name, name);
  text_append(&text, "extern const actnn_model %s_model;\n\n"
                     "actnn *%s_create(int threads, uint64_t seed, char *error, size_t error_bytes);\n"
                     "int %s_step(actnn *trainer, double learning_rate, double *loss);\n"
                     "int %s_evaluate(actnn *trainer, double *loss);\n"
                     "int %s_save(actnn *trainer, const char *path);\n"
                     "int %s_load(actnn *trainer, const char *path);\n"
                     "void %s_destroy(actnn *trainer);\n\n#endif\n", name, name, name, name, name, name, name);
  *length = text.length;
  return text.bytes;
}
