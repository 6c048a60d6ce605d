/* sanitized.h: whether a sanitizer that keeps memory of its own is built in: how much a program takes is then not what it asks for. */
#ifndef ACTNN_SANITIZED_H
#define ACTNN_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#endif
