/* test_verify_compiler.c: where libclang fails or says less than it should, the source is refused. Its functions are replaced here. */
#include "../runtime/replaced.h"
#include "verify_facts.h"

#include <clang-c/Index.h>

typedef enum Fault {
  NO_FAULT,
  NO_INDEX,
  NO_UNIT,
  NO_TEXT,      /* names of cursors and files */
  NO_FILE,      /* of a place */
  NO_REFERENCE  /* what a name stands for */
} Fault;

static Fault fault;

CXIndex
clang_createIndex(int without_precompiled, int shows_diagnostics)
{
  return fault == NO_INDEX ? NULL : REAL(clang_createIndex)(without_precompiled, shows_diagnostics);
}

enum CXErrorCode
clang_parseTranslationUnit2(CXIndex index, const char *path, const char *const *arguments, int argument_count, struct CXUnsavedFile *files,
                            unsigned file_count, unsigned options, CXTranslationUnit *unit)
{
  if (fault == NO_UNIT) return CXError_Crashed;
  return REAL(clang_parseTranslationUnit2)(index, path, arguments, argument_count, files, file_count, options, unit);
}

const char *
clang_getCString(CXString string)
{
  return fault == NO_TEXT ? NULL : REAL(clang_getCString)(string);
}

void
clang_getExpansionLocation(CXSourceLocation place, CXFile *file, unsigned *line, unsigned *column, unsigned *offset)
{
  REAL(clang_getExpansionLocation)(place, file, line, column, offset);
  if (fault == NO_FILE && file) *file = NULL;
}

CXCursor
clang_getCursorReferenced(CXCursor cursor)
{
  return fault == NO_REFERENCE ? clang_getNullCursor() : REAL(clang_getCursorReferenced)(cursor);
}

int
main(void)
{
  static const struct {
    Fault fault;
    const char *rule, *message, *what;
  } cases[] = {{NO_INDEX, "V1", "cannot read the source (libclang's error 3)", "no library"},
               {NO_UNIT, "V1", "cannot read the source (libclang's error 2)", "a compiler that crashes"},
               {NO_TEXT, "V2", "fewer calls than the words say", "names that are not told"},
               {NO_FILE, "V2", "fewer calls than the words say", "places of no file"},
               {NO_REFERENCE, "V2", "a reference to something unknown", "names that stand for nothing"}};
  start(&origins[0]);
  for (size_t i = 0; i < COUNT(cases); i++) {
    fault = cases[i].fault;
    refuses(COMPILER_VIEW, cases[i].rule, cases[i].message, cases[i].what);
    fault = NO_FAULT;
    accepts(COMPILER_VIEW, "the same source as ever");
  }
  finish();
  return tap_done();
}
