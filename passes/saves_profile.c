/* saves_profile.c: a strict reader of one kind of JSON; see saves_profile.h. Members may come in any order, and those that are
 * of no use here are read over; all else is refused with its line. */
#include "saves_profile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 16 << 20, MOST_NAME = 4096, MOST_DEPTH = 8 };

typedef struct Json {
  const char *path, *text, *at; /* text ends with a zero that is no part of it */
  Arena *arena;
  Diagnostics *diagnostics;
} Json;

static bool
refuse(const Json *json, const char *what)
{
  int line = 1;
  for (const char *at = json->text; at < json->at; at++) line += *at == '\n';
  return report(json->diagnostics, json->path, "make it again with the trainer's --profile-generate", "line %d: %s", line, what);
}

static void
skip_space(Json *json)
{
  while (*json->at == ' ' || *json->at == '\n' || *json->at == '\t' || *json->at == '\r') json->at++;
}

static bool
take(Json *json, char wanted)
{
  skip_space(json);
  if (*json->at != wanted) return false;
  json->at++;
  return true;
}

/* ---- strings and numbers -------------------------------------------------------------------------- */

static bool
read_hexadecimal(Json *json, uint32_t *code)
{
  *code = 0;
  for (int i = 0; i < 4; i++, json->at++) {
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *digit = *json->at ? strchr(digits, *json->at) : NULL;
    if (!digit) return false;
    *code = *code * 16 + (uint32_t)(digit - digits < 16 ? digit - digits : digit - digits - 6);
  }
  return true;
}

/* One character after a backslash as UTF-8; the bytes written, 0 when it is none. Names with characters beyond the first 65536
 * are written as they are, so surrogates do not occur. */
static size_t
read_escape(Json *json, char *to)
{
  static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  const char *found = *json->at ? strchr(escapes, *json->at) : NULL;
  uint32_t code;
  if (found) return json->at++, *to = meant[found - escapes], 1;
  if (*json->at != 'u') return 0;
  json->at++;
  if (!read_hexadecimal(json, &code) || !code || (code >= 0xd800 && code < 0xe000)) return 0;
  if (code < 0x80) return *to = (char)code, 1;
  if (code < 0x800) return to[0] = (char)(0xc0 | code >> 6), to[1] = (char)(0x80 | (code & 63)), 2;
  return to[0] = (char)(0xe0 | code >> 12), to[1] = (char)(0x80 | (code >> 6 & 63)), to[2] = (char)(0x80 | (code & 63)), 3;
}

static bool
read_string(Json *json, const char **string)
{
  char name[MOST_NAME + 4];
  size_t length = 0;
  if (!take(json, '"')) return refuse(json, "a string was expected");
  while (*json->at != '"') {
    size_t taken = 1;
    if ((unsigned char)*json->at < ' ' || length >= MOST_NAME) return refuse(json, "a string does not end");
    if (*json->at == '\\') {
      json->at++;
      taken = read_escape(json, name + length);
      if (!taken) return refuse(json, "a string has an escape that is not understood");
    } else {
      name[length] = *json->at++;
    }
    length += taken;
  }
  json->at++;
  *string = arena_text(json->arena, name, length);
  return true;
}

static bool
read_number(Json *json, double *number)
{
  char *end;
  skip_space(json);
  size_t length = strspn(json->at, "+-.0123456789eE");
  *number = strtod(json->at, &end);
  if (!length || end != json->at + length || !isfinite(*number)) return refuse(json, "a finite number was expected");
  json->at = end;
  return true;
}

/* ---- values ---------------------------------------------------------------------------------------- */

/* Reads over a value that nobody asked for: a string, a number, or a list of them. */
static bool
skip_value(Json *json, int depth)
{
  const char *string;
  double number;
  skip_space(json);
  if (*json->at == '"') return read_string(json, &string);
  if (*json->at != '[') return read_number(json, &number);
  json->at++;
  if (depth == MOST_DEPTH) return refuse(json, "lists are nested too deeply");
  if (take(json, ']')) return true;
  do
    if (!skip_value(json, depth + 1)) return false;
  while (take(json, ','));
  return take(json, ']') || refuse(json, "',' or ']' was expected");
}

static bool
read_save(Json *json, SaveProfile *save)
{
  *save = (SaveProfile){.weight = -1};
  if (!take(json, '{')) return refuse(json, "'{' was expected");
  do {
    const char *key;
    if (!read_string(json, &key)) return false;
    if (!take(json, ':')) return refuse(json, "':' was expected");
    if (!strcmp(key, "name")) {
      if (!read_string(json, &save->name)) return false;
    } else if (!strcmp(key, "weight")) {
      if (!read_number(json, &save->weight)) return false;
      if (save->weight < 0) return refuse(json, "a weight is negative");
    } else if (!skip_value(json, 0)) {
      return false;
    }
  } while (take(json, ','));
  if (!take(json, '}')) return refuse(json, "',' or '}' was expected");
  return save->name || refuse(json, "a saved value has no name");
}

static bool
read_saves(Json *json, SavesProfile *profile)
{
  uint32_t capacity = 0;
  if (profile->save) return refuse(json, "there are two lists of saved values");
  if (!take(json, '[')) return refuse(json, "'[' was expected");
  profile->save = arena_array(json->arena, 1, sizeof *profile->save);
  if (take(json, ']')) return true;
  do {
    if (profile->count >= capacity) {
      capacity = capacity * 2 + 32;
      SaveProfile *grown = arena_array(json->arena, capacity, sizeof *grown);
      if (profile->count) memcpy(grown, profile->save, profile->count * sizeof *grown);
      profile->save = grown;
    }
    if (!read_save(json, &profile->save[profile->count])) return false;
    profile->count++;
  } while (take(json, ','));
  return take(json, ']') || refuse(json, "',' or ']' was expected");
}

static bool
read_profile(Json *json, SavesProfile *profile)
{
  const char *format = "";
  double version = 0;
  if (!take(json, '{')) return refuse(json, "'{' was expected");
  do {
    const char *key;
    if (!read_string(json, &key)) return false;
    if (!take(json, ':')) return refuse(json, "':' was expected");
    bool is_read = !strcmp(key, "format")    ? read_string(json, &format)
                   : !strcmp(key, "version") ? read_number(json, &version)
                   : !strcmp(key, "saves")   ? read_saves(json, profile)
                                             : skip_value(json, 0);
    if (!is_read) return false;
  } while (take(json, ','));
  if (!take(json, '}')) return refuse(json, "',' or '}' was expected");
  skip_space(json);
  if (*json->at) return refuse(json, "there is more after the profile's end");
  if (strcmp(format, "actnn-profile") || version != 1) return refuse(json, "this is no profile of version 1");
  return profile->save || refuse(json, "there is no list of saved values");
}

SavesProfile *
read_saves_profile(const char *path, Arena *arena, Diagnostics *diagnostics)
{
  FILE *file = fopen(path, "rb");
  if (!file) return report(diagnostics, path, "the file that a trainer's --profile-generate wrote", "%s", strerror(errno)), NULL;
  char *text = malloc(MOST_BYTES + 1);
  size_t length = text ? fread(text, 1, MOST_BYTES + 1, file) : 0;
  bool is_whole = text && !ferror(file) && length <= MOST_BYTES && !memchr(text, 0, length);
  fclose(file);
  SavesProfile *profile = NULL;
  if (!is_whole) {
    report(diagnostics, path, "the file that a trainer's --profile-generate wrote", "it cannot be read as a profile");
  } else {
    text[length] = 0;
    Json json = {.path = path, .text = text, .at = text, .arena = arena, .diagnostics = diagnostics};
    profile = arena_allocate(arena, sizeof *profile);
    if (!read_profile(&json, profile)) profile = NULL;
  }
  free(text);
  return profile;
}
