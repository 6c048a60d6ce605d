/* verify_clang.c: what a compiler makes of an emitted source: no diagnostic (V1), a tree of few kinds of nodes, in which the same
 * kernels are called in the same order as the words say (V2).
 *
 * The source is compiled from memory, against the runtime's headers built into the translator and four small stand-ins for the
 * standard headers that these include; nothing of the machine is read, so the verdict is the same everywhere. */
#include "verify.h"

#include <clang-c/Index.h>
#include <string.h>

#include "verify_headers.h" /* generated: actnn_h, actnn_kernels_h */

static const char stddef_h[] = "typedef __SIZE_TYPE__ size_t;\n#define NULL ((void *)0)\n";
static const char stdbool_h[] = "#define bool _Bool\n#define true 1\n#define false 0\n";
static const char stdint_h[] =
    "typedef __UINT8_TYPE__ uint8_t;\ntypedef __UINT32_TYPE__ uint32_t;\ntypedef __INT64_TYPE__ int64_t;\n"
    "typedef __UINT64_TYPE__ uint64_t;\n#define UINT32_MAX 4294967295U\n"
    "#define INT64_MIN (-9223372036854775807 - 1)\n";
static const char math_h[] = "#define INFINITY (1.0F / 0.0F)\n#define NAN (0.0F / 0.0F)\n";

#define FOLDER "/actnnc-verify/"
#define KERNELS FOLDER "include/actnn_kernels.h"

typedef struct Tree {
  Emitted *emitted;
  const char *source, *header; /* paths */
  uint32_t next;               /* call whose words come next */
  bool wants_kernel, is_good;
  const char *const *may_call;           /* of the present function of the interface */
  int phase;                             /* of the present function, -1 otherwise */
  unsigned loops, tests, returns, calls; /* statements of the present phase function */
} Tree;

/* ---- V1 ------------------------------------------------------------------------------------------------------ */

static bool
check_diagnostics(Emitted *emitted, CXTranslationUnit unit)
{
  unsigned count = clang_getNumDiagnostics(unit), offset;
  for (unsigned i = 0; i < count && i < 5; i++) {
    CXDiagnostic diagnostic = clang_getDiagnostic(unit, i);
    CXString text = clang_getDiagnosticSpelling(diagnostic);
    clang_getExpansionLocation(clang_getDiagnosticLocation(diagnostic), NULL, NULL, NULL, &offset);
    refuse(emitted, offset, "the compiler says: %.200s", clang_getCString(text));
    clang_disposeString(text);
    clang_disposeDiagnostic(diagnostic);
  }
  return count == 0;
}

/* ---- V2 ------------------------------------------------------------------------------------------------------ */

/* Inside of declarations: nothing is declared there but an enumeration's constants and parameters. */
static bool
is_known_kind(enum CXCursorKind kind)
{
  switch (kind) {
  case CXCursor_EnumConstantDecl:
  case CXCursor_ParmDecl:
  case CXCursor_TypeRef:
  case CXCursor_MemberRef:
  case CXCursor_UnexposedExpr:
  case CXCursor_DeclRefExpr:
  case CXCursor_CallExpr:
  case CXCursor_IntegerLiteral:
  case CXCursor_FloatingLiteral:
  case CXCursor_StringLiteral:
  case CXCursor_ParenExpr:
  case CXCursor_UnaryOperator:
  case CXCursor_BinaryOperator:
  case CXCursor_CStyleCastExpr:
  case CXCursor_CompoundLiteralExpr:
  case CXCursor_InitListExpr:
  case CXCursor_UnaryExpr:
  case CXCursor_CompoundStmt:
  case CXCursor_IfStmt:
  case CXCursor_DoStmt:
  case CXCursor_ReturnStmt: return true;
  default: return false;
  }
}

static bool
refuse_node(Tree *tree, CXCursor cursor, const char *what)
{
  unsigned offset;
  CXString kind = clang_getCursorKindSpelling(clang_getCursorKind(cursor)), name = clang_getCursorSpelling(cursor);
  clang_getExpansionLocation(clang_getCursorLocation(cursor), NULL, NULL, NULL, &offset);
  tree->is_good =
      refuse(tree->emitted, offset, "%s: %s '%.100s'", what, clang_getCString(kind), clang_getCString(name));
  clang_disposeString(kind);
  clang_disposeString(name);
  return false;
}

static bool
text_is(CXString string, const char *text)
{
  const char *bytes = clang_getCString(string);
  bool is_same = bytes && !strcmp(bytes, text);
  clang_disposeString(string);
  return is_same;
}

/* Files in memory have no identity but their path. */
static bool
is_in(CXCursor cursor, const char *path)
{
  CXFile file;
  clang_getExpansionLocation(clang_getCursorLocation(cursor), &file, NULL, NULL, NULL);
  return file && text_is(clang_getFileName(file), path);
}

/* Functions that a phase names: actnn_run and one kernel, in turn, on the line where the words have the call. */
static bool
check_phase_reference(Tree *tree, CXCursor cursor, CXCursor function)
{
  Emitted *emitted = tree->emitted;
  if (!tree->wants_kernel) {
    tree->wants_kernel = true;
    return text_is(clang_getCursorSpelling(function), "actnn_run")
        || refuse_node(tree, cursor, "a phase may call actnn_run only");
  }
  unsigned offset;
  clang_getExpansionLocation(clang_getCursorLocation(cursor), NULL, NULL, NULL, &offset);
  const EmittedCall *call = &emitted->call[tree->next];
  bool is_expected = tree->next < emitted->call_count && (int)call->phase == tree->phase && call->position == offset
      && is_in(function, KERNELS)
      && text_is(clang_getCursorSpelling(function), arena_format(emitted->arena, "actnn_%s", call->name));
  tree->wants_kernel = false;
  tree->next++;
  return is_expected || refuse_node(tree, cursor, "another kernel than the words say");
}

static bool
check_reference(Tree *tree, CXCursor cursor)
{
  CXCursor target = clang_getCursorReferenced(cursor);
  switch (clang_getCursorKind(target)) {
  case CXCursor_EnumConstantDecl:
  case CXCursor_ParmDecl: return true;
  case CXCursor_VarDecl: /* calls name none; tables name each other and the device */
    if (tree->phase >= 0) return refuse_node(tree, cursor, "a variable in a phase");
    return is_in(target, tree->source) || text_is(clang_getCursorSpelling(target), "actnn_cuda")
        || refuse_node(tree, cursor, "a foreign variable");
  case CXCursor_FunctionDecl: break;
  default: return refuse_node(tree, cursor, "a reference to something unknown");
  }
  if (tree->phase >= 0) return check_phase_reference(tree, cursor, target);
  for (const char *const *name = tree->may_call; name && *name; name++)
    if (text_is(clang_getCursorSpelling(target), *name)) return true;
  return refuse_node(tree, cursor, "no function may be named here");
}

static enum CXChildVisitResult
visit_node(CXCursor cursor, CXCursor parent, CXClientData data)
{
  Tree *tree = data;
  enum CXCursorKind kind = clang_getCursorKind(cursor);
  (void)parent;
  if (!is_known_kind(kind)) return refuse_node(tree, cursor, "not a part of emitted source"), CXChildVisit_Break;
  tree->loops += kind == CXCursor_DoStmt;
  tree->tests += kind == CXCursor_IfStmt;
  tree->returns += kind == CXCursor_ReturnStmt;
  tree->calls += kind == CXCursor_CallExpr;
  if (kind == CXCursor_DeclRefExpr && !check_reference(tree, cursor)) return CXChildVisit_Break;
  return CXChildVisit_Recurse;
}

static bool
check_phase(Tree *tree, CXCursor function, int phase)
{
  const Emitted *emitted = tree->emitted;
  unsigned count = emitted->first_call[phase + 1] - emitted->first_call[phase];
  tree->phase = phase;
  tree->wants_kernel = false;
  tree->loops = tree->tests = tree->returns = tree->calls = 0;
  if (tree->next != emitted->first_call[phase]) return refuse_node(tree, function, "a phase out of order");
  clang_visitChildren(function, visit_node, tree);
  tree->phase = -1;
  if (!tree->is_good) return false;
  bool is_same = tree->next == emitted->first_call[phase + 1] && tree->calls == count && tree->loops == count
      && tree->tests == count && tree->returns == count + 1;
  return is_same || refuse_node(tree, function, "the compiler sees other calls than the words say");
}

/* A definition of the source: the tables, the four phases, or the interface, which may call one function of the runtime each. */
static bool
check_declaration(Tree *tree, CXCursor cursor)
{
  static const char *const phases[] = {"initialize", "forward", "backward", "evaluate", NULL};
  static const struct {
    const char *suffix, *called[2];
  } interface[] = {{"_create", {"actnn_create"}},
                   {"_step", {"actnn_step"}},
                   {"_evaluate", {"actnn_evaluate_batch"}},
                   {"_save", {"actnn_save_checkpoint"}},
                   {"_load", {"actnn_load"}},
                   {"_destroy", {"actnn_destroy"}}};
  static const char *const main_calls[] = {"actnn_main", NULL}, *const calls_nothing[] = {NULL};
  static const char *const tables[] = {"tensors", "inputs", "variables", "saves", "onnx_model"};
  const Emitted *emitted = tree->emitted;
  CXString spelling = clang_getCursorSpelling(cursor);
  const char *name = arena_format(emitted->arena, "%s", clang_getCString(spelling));
  size_t stem = strlen(emitted->name);
  clang_disposeString(spelling);
  tree->may_call = NULL;
  if (clang_getCursorKind(cursor) == CXCursor_FunctionDecl) {
    for (int phase = 0; phases[phase]; phase++)
      if (!strcmp(name, phases[phase])) return check_phase(tree, cursor, phase);
    if (!strcmp(name, "main")) tree->may_call = main_calls;
    for (size_t i = 0; i < sizeof interface / sizeof *interface; i++)
      if (!strncmp(name, emitted->name, stem) && !strcmp(name + stem, interface[i].suffix))
        tree->may_call = interface[i].called;
    if (!tree->may_call) return refuse_node(tree, cursor, "a function that no emitted source has");
  } else if (clang_getCursorKind(cursor) == CXCursor_VarDecl) {
    bool is_own = !strncmp(name, emitted->name, stem);
    if (is_own && !strcmp(name + stem, "_model")) tree->may_call = phases;
    if (is_own && !strcmp(name + stem, "_pointwise") && !clang_isCursorDefinition(cursor)) tree->may_call = calls_nothing;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
      if (!strcmp(name, tables[i])) tree->may_call = calls_nothing;
    if (!tree->may_call) return refuse_node(tree, cursor, "a variable that no emitted source has");
  } else if (clang_getCursorKind(cursor) != CXCursor_EnumDecl) {
    return refuse_node(tree, cursor, "a declaration that no emitted source has");
  }
  clang_visitChildren(cursor, visit_node, tree);
  return tree->is_good;
}

/* The header only declares. */
static bool
check_header_declaration(Tree *tree, CXCursor cursor)
{
  enum CXCursorKind kind = clang_getCursorKind(cursor);
  bool is_declaration = (kind == CXCursor_FunctionDecl || kind == CXCursor_VarDecl) && !clang_isCursorDefinition(cursor)
      && clang_Cursor_getStorageClass(cursor) == (kind == CXCursor_VarDecl ? CX_SC_Extern : CX_SC_None);
  return is_declaration || refuse_node(tree, cursor, "the header may only declare the trainer's functions");
}

static enum CXChildVisitResult
visit_top(CXCursor cursor, CXCursor parent, CXClientData data)
{
  Tree *tree = data;
  (void)parent;
  if (is_in(cursor, tree->source)) {
    if (!check_declaration(tree, cursor)) return tree->is_good = false, CXChildVisit_Break;
  } else if (is_in(cursor, tree->header)) {
    if (!check_header_declaration(tree, cursor)) return tree->is_good = false, CXChildVisit_Break;
  }
  return CXChildVisit_Continue; /* the runtime's headers and the compiler's own declarations */
}

static bool
check_tree(Emitted *emitted, CXTranslationUnit unit, const char *source_path, const char *header_path)
{
  Tree tree = {.emitted = emitted, .phase = -1, .is_good = true, .source = source_path, .header = header_path};
  emitted->rule = "V2";
  clang_visitChildren(clang_getTranslationUnitCursor(unit), visit_top, &tree);
  if (tree.is_good && tree.next != emitted->call_count)
    return refuse(emitted, 0, "the compiler sees fewer calls than the words say");
  return tree.is_good;
}

bool
check_with_compiler(Emitted *emitted)
{
  const char *source_path = arena_format(emitted->arena, FOLDER "trainer/%s.c", emitted->name);
  const char *header_path = arena_format(emitted->arena, FOLDER "trainer/%s.h", emitted->name);
  static const char *const arguments[] = {"-std=c11",   "-Wall",     "-Wextra",
                                          "-Wpedantic", "-nostdinc", "-I" FOLDER "include"};
  struct CXUnsavedFile files[] = {{source_path, emitted->source, emitted->source_length},
                                  {header_path, emitted->header, emitted->header_length},
                                  {FOLDER "include/actnn.h", (const char *)actnn_h, sizeof actnn_h},
                                  {KERNELS, (const char *)actnn_kernels_h, sizeof actnn_kernels_h},
                                  {FOLDER "include/stddef.h", stddef_h, sizeof stddef_h - 1},
                                  {FOLDER "include/stdbool.h", stdbool_h, sizeof stdbool_h - 1},
                                  {FOLDER "include/stdint.h", stdint_h, sizeof stdint_h - 1},
                                  {FOLDER "include/math.h", math_h, sizeof math_h - 1}};
  CXIndex index = clang_createIndex(0, 0);
  CXTranslationUnit unit;
  enum CXErrorCode error =
      clang_parseTranslationUnit2(index, source_path, arguments, sizeof arguments / sizeof *arguments, files,
                                  sizeof files / sizeof *files, CXTranslationUnit_None, &unit);
  if (error != CXError_Success) {
    clang_disposeIndex(index);
    return refuse(emitted, 0, "the compiler cannot read the source (libclang's error %d)", (int)error);
  }
  bool is_good = check_diagnostics(emitted, unit) && check_tree(emitted, unit, source_path, header_path);
  clang_disposeTranslationUnit(unit);
  clang_disposeIndex(index);
  return is_good;
}
