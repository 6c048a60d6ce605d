/* verify_changes.h: changes of an emitted source, each with the rule that must refuse it (verify_mutants.c applies them). */
#ifndef ACTNN_VERIFY_CHANGES_H
#define ACTNN_VERIFY_CHANGES_H

typedef struct Change {
  const char *rule, *what, *after, *from, *to; /* the first `from` behind `after` */
} Change;

static const Change changes[] = {
    {"V2", "a kernel that is none", "forward(actnn", "actnn_Relu", "actnn_Renu"},
    {"V2", "system for a kernel", "forward(actnn", "actnn_Relu", "system"},
    {"V2", "a function of the runtime for a kernel", "forward(actnn", "actnn_Relu", "actnn_destroy"},
    {"V2", "a kernel with other operands", "forward(actnn", "actnn_Relu", "actnn_Conv"},
    {"V2", "an attribute too few", "forward(actnn", "WITH(INT(0), ABSENT)", "WITH(INT(0))"},
    {"V2", "an interface function that calls another", "net_step", "actnn_step(", "actnn_evaluate_batch("},
    {"V2", "another phase function in the model", ".initialize", "= initialize", "= forward"},
    {"V2", "a model of another name", "_model =", ".name = \"net\"", ".name = \"ten\""},
    {"V3", "a negative extent", "tensors[TENSOR_COUNT]", "{4", "{-4"},
    {"V3", "an extent beyond the bytes", "tensors[TENSOR_COUNT]", "{4", "{400000"},
    {"V3", "extents whose product overflows", "tensors[TENSOR_COUNT]", "{4", "{4611686018427387904"},
    {"V3", "an entry twice", "tensors[TENSOR_COUNT]", "[v1]", "[v0]"},
    {"V3", "an offset that is computed", "tensors[TENSOR_COUNT]", "0u,", "0u * 2u,"},
    {"V3", "a byte of the model beyond 255", "onnx_model[]", "{", "{256, "},
    {"V8", "a larger arena", "_model =", ".arena_bytes = ", ".arena_bytes = 1"},
    {"V8", "a larger pool", "_model =", ".stash_bytes = ", ".stash_bytes = 1"},
    {"V8", "fewer variables", "_model =", ".variable_bytes = ", ".variable_bytes = 1"},
    {"V8", "a workspace over the pool", "_model =", ".workspace_offset = ", ".workspace_offset = 1"},
    {"V8", "a wrong sum of saved bytes", "_model =", ".saved_bytes = ", ".saved_bytes = 1"},
    {"V8", "a shorter table of saves", "_model =", ".save_count = ", ".save_count = 1"},
    {"V9", "a pragma", "forward(actnn", "  RUN(", "#pragma omp parallel\n  RUN("},
    {"V9", "a definition", "forward(actnn", "  RUN(", "#define RUN(a, b, c, d)\n  RUN("},
    {"V9", "an operator of pragmas", "forward(actnn", "  RUN(", "  _Pragma(\"once\") RUN("},
    {"V9", "a comment that swallows the next line", "forward(actnn", "  RUN(", "// x \\\n  RUN("},
    {"V9", "a comment that joins lines", "forward(actnn", "/* ", "/* ?\?/\n"},
    {"V9", "a comment in a comment", "forward(actnn", "/* ", "/* /* "},
    {"V9", "a byte that is no ASCII", "forward(actnn", "/* ", "/* \303\251 "},
    {"V9", "a right-to-left mark", "forward(actnn", "/* ", "/* \342\200\256 "},
    {"V9", "a digraph", "forward(actnn", "{", "<%"},
    {"V9", "a hexadecimal number", "tensors[TENSOR_COUNT]", "0u,", "0x0u,"},
    {"V9", "an octal number", "_model =", ".level = ", ".level = 0"},
    {"V9", "a name of another form", "forward(actnn", "trainer)", "Trainer)"},
    {"V9", "a quote in a string", "inputs[]", "\"image\"", "\"ima\\\"ge\""},
    {"V9", "a prefixed string", "inputs[]", "\"image\"", "u8\"image\""},
    {"V9", "a fourth preprocessor line", "#endif", "#endif", "#endif\n#endif"},
    {"V9", "another preprocessor line of that length", "#endif", "#endif", "#enfid"},
    {"V9", "a preprocessor line behind spaces", "#ifndef", "#ifndef", "  #ifndef"},
    {"V9", "a preprocessor line too few", "#endif", "#endif\n", ""},
    {"V3", "a word before the first preprocessor line", "", "#include", "int\n#include"},
    {"V2", "a word behind the last preprocessor line", "#endif", "#endif\n", "#endif\nint\n"},
    {"V9", "a comment that does not end", "/* The model in", " */", " "},
    {"V9", "a string that does not end", "#endif", "#endif\n", "#endif\n\""},
    {"V9", "an escape that does not end", "#endif", "#endif\n", "#endif\n\"\\01"},
    {"V9", "an escape of a letter", "inputs[]", "\"image\"", "\"ima\\nge\""},
    {"V9", "an escape whose second digit is none", "inputs[]", "\"image\"", "\"ima\\0/0ge\""},
    {"V9", "an escape whose last digit is none", "inputs[]", "\"image\"", "\"ima\\009ge\""},
    {"V9", "an escape beyond a byte", "inputs[]", "\"image\"", "\"ima\\400ge\""},
    {"V9", "a point without digits behind it", "_model =", ".level = ", ".level = 1., "},
    {"V9", "a point before a word", "_model =", ".level = ", ".level = 1.e"},
    {"V9", "an exponent without digits", "_model =", ".level = ", ".level = 1e-, "},
    {"V9", "two points in a number", "_model =", ".level = ", ".level = 1.5.2"},
    {"V9", "digits that are joined", "_model =", ".level = ", ".level = 1_0"},
    {"V9", "a number of fifty digits", "_model =", ".level = ", ".level = 11111222223333344444555556666677777888889999900000"},
    {"V9", "a character with a prefix", "inputs[]", "\"image\"", "u'i'"},
    {"V9", "a name of more than a hundred letters", "forward(actnn", "  RUN(",
     "  aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiiijjjjjjjjjjk RUN("},
    {"V10", "a name of seventy letters", "forward(actnn", "  RUN(", "  aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg RUN("},
    {"V3", "more bytes in a part than there are", "_model =", ".arena_bytes = ", ".arena_bytes = 18446744073709551552u, .variable_bytes = "},
    {"V9", "a second include", "forward(actnn", "/* ", "\n#include \"net.h\"\n/* "},
    {"V10", "a call without RUN", "forward(actnn", "  RUN(", "  actnn_run(trainer, "},
    {"V10", "a call whose code is dropped", "forward(actnn", "  RUN(", "  (void)actnn_run(trainer, "},
    {"V10", "a call of system", "forward(actnn", "  RUN(", "  system(\"id\");\n  RUN("},
    {"V10", "an early return", "forward(actnn", "  RUN(", "  return 0;\n  RUN("},
    {"V10", "a condition", "forward(actnn", "  RUN(", "  if (trainer) RUN("},
    {"V10", "assembler", "forward(actnn", "  RUN(", "  asm(\"nop\");\n  RUN("},
    {"V10", "a label", "forward(actnn", "  (void)trainer;", "  goto end;"},
    {"V10", "a function more", "static int\nevaluate", "static int\nevaluate",
     "static int\nextra(actnn *trainer)\n{\n  return 0;\n}\n\nstatic int\nevaluate"},
};

/* What the compiler must notice by itself, the words being those of the good source: by the rule that is named, or by any. */
static const Change views[] = {
    {"", "a constant that no double holds", "backward(actnn", "REAL_NUMBER(0.9)", "REAL_NUMBER(1e999)"},
    {"", "a statement swallowed by a comment", "forward(actnn", "  RUN(", "  // \\\n  RUN("},
    {"", "a call of another function", "forward(actnn", "  RUN(", "  actnn_destroy(trainer);\n  RUN("},
    {"", "a call whose code is dropped", "forward(actnn", "  RUN(",
     "  (void)actnn_run(trainer, actnn_Relu, OUT(v0), IN(v0), WITHOUT);\n  RUN("},
    {"", "assembler", "forward(actnn", "  RUN(", "  __asm__(\"nop\");\n  RUN("},
    {"", "a builtin", "forward(actnn", "  RUN(", "  __builtin_trap();\n  RUN("},
    {"", "more remarks than are told", "forward(actnn", "  RUN(", "  a(); b(); c(); d(); e(); f(); g();\n  RUN("},
    {"", "a call behind the last one of a phase", "forward(actnn", "(void)trainer;",
     "RUN(actnn_Relu, OUT(v0), IN(v0), WITHOUT);\n  (void)trainer;"},
    {"", "a call behind the very last one", "evaluate(actnn", "(void)trainer;",
     "RUN(actnn_Relu, OUT(v0), IN(v0), WITHOUT);\n  (void)trainer;"},
    {"", "a union between the tables", "static const actnn_input", "static", "union extra { int i; float f; };\nstatic"},
    {"", "a table of another kind", "static const actnn_input", "static", "static int counter = sizeof(struct later *);\nstatic"},
    {"", "a function's address in a table", "_model =", ".batch = ", ".batch = (long long)&actnn_destroy != 0 ? 1 : 0, .step_number = "},
    {"", "phases in another order", "static int\nforward", "static int\nforward", "static int backward(actnn *trainer);\nstatic int\nforward"},
    {"V2", "a loop that does nothing", "forward(actnn", "  (void)trainer;", "  do {\n  } while (0);\n  (void)trainer;"},
    {"V2", "a test that does nothing", "forward(actnn", "  (void)trainer;", "  if (0) {\n  }\n  (void)trainer;"},
    {"V2", "a call of no function", "forward(actnn", "  (void)trainer;", "  ((int (*)(int))0)(0);\n  (void)trainer;"},
    {"V2", "two ends", "forward(actnn", "return 0;", "return 0;\n  return 0;"},
    {"V2", "a function's address in a table of tensors", "tensors[TENSOR_COUNT]", " 0u,", " (uint64_t)&actnn_destroy,"},
    {"V2", "a function in the list of tensors", "enum {", "v0,", "v0 = 0 * sizeof(&actnn_destroy),"},
    {"V2", "a variable more, named after the trainer", "static const actnn_input", "static", "const int net_more = 1;\nstatic"},
    {"V2", "a variable more", "static const actnn_input", "static", "const int more = 1;\nstatic"},
    {"V2", "a function more, named after the trainer", "\nmain(", "main", "net_more(void)\n{\n  return 0;\n}\n\nint\nmain"},
    {"", "a loop", "forward(actnn", "  RUN(", "  for (;;) RUN("},
    {"", "another kernel", "forward(actnn", "actnn_Relu", "actnn_Sqrt"},
    {"", "a cast kernel", "forward(actnn", "actnn_Relu", "(actnn_kernel *)(void *)0"},
    {"", "a statement expression", "forward(actnn", "return 0;", "return ({ 0; });"},
    {"", "a function that runs before main", "static int\nforward", "static int\nforward",
     "__attribute__((constructor)) static void\nearly(void)\n{\n}\n\nstatic int\nforward"},
    {"", "an unused variable", "forward(actnn", "return 0;", "int unused; return 0;"},
    {"", "main that calls another function", "\nmain(", "actnn_main(&net_model, argc, argv)",
     "net_step(NULL, argc, (double *)argv)"},
};

/* The first `from` of a header becomes `to`. */
typedef struct HeaderChange {
  const char *rule, *what, *from, *to;
} HeaderChange;

/* Headers that are not the one of all trainers. */
static const HeaderChange header_changes[] = {
    {"V9", "a byte that is no ASCII", "/* ", "/* \303\251 "},
    {"V9", "no comment", "/* ", ""},
    {"V9", "a comment that does not end", " */", " "},
    {"V9", "a line that is continued", "/* ", "/* \\\n"},
    {"V9", "a second declaration", "\n#endif", "int more(void);\n\n#endif"},
    {"V9", "a definition in front of all", "/* ", "#define RUN(a, b, c, d)\n/* "},
};

/* What the compiler must notice of a header by itself. */
static const HeaderChange header_views[] = {
    {"V2", "a type more", "\n#endif", "typedef int more;\n\n#endif"},
    {"V2", "a structure more", "\n#endif", "struct more {\n  int i;\n};\n\n#endif"},
    {"V2", "a function that is defined", "\n#endif", "int more(void);\nint\nmore(void)\n{\n  return 0;\n}\n\n#endif"},
    {"V2", "a variable that is defined", "\n#endif", "int more = 1;\n\n#endif"},
    {"V2", "a variable that may be defined", "\n#endif", "int more;\n\n#endif"},
    {"V2", "a function that is declared as nothing else is", "\n#endif", "extern int more(void);\n\n#endif"},
    {"V2", "a kernel that is declared again", "\n#endif", "actnn_kernel actnn_Relu;\n\n#endif"},
    {"V1", "a name that is none", "\n#endif", "int more(none);\n\n#endif"},
};

#endif
