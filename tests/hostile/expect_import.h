/* expect_import.h: a file is imported, or refused with a message, within seconds. */
#ifndef ACTNN_EXPECT_IMPORT_H
#define ACTNN_EXPECT_IMPORT_H

#include "../runtime/tap.h"
#include "import_outcome.h"
#include "onnx_writer.h"

static const double MOST_SECONDS = IS_SANITIZED ? 20 : 3; /* one second on an idle machine */

/* Imports `file` (in the current folder) and expects `text` in the message; NULL: expects that it is imported. */
static inline void
expect_within(double seconds, const char *file, const char *what, const char *text)
{
  Outcome outcome = import_apart(file);
  bool is_right = text ? outcome.status == 1 && strstr(outcome.message, text) : outcome.status == 0;
  if (!ok(is_right && outcome.seconds < seconds, "%s", what))
    printf("# status %d after %.2f s; message: %s\n", outcome.status, outcome.seconds, outcome.message);
}

static inline void
expect(const char *file, const char *what, const char *text)
{
  expect_within(MOST_SECONDS, file, what, text);
}

static inline void
expect_model(Bytes model, const char *what, const char *text)
{
  write_model("model.onnx", model);
  expect("model.onnx", what, text);
}

#endif
