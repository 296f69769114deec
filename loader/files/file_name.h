// Names of files that a file lists: which of them stay in its folder.
#ifndef MNEME_LOADER_FILES_FILE_NAME_H_
#define MNEME_LOADER_FILES_FILE_NAME_H_

#include <cstddef>
#include <string_view>

namespace mneme::loader {

inline constexpr size_t kMostNameBytes = 255;  // as in most file systems

// Whether `name` is that of an entry of a folder: no path, no ".", no "..", 1 to kMostNameBytes
// bytes. Files of others may have any such name; where a link of that name leads is another
// question.
bool IsEntryName(std::string_view name);

// Whether it is one that Mneme gives: letters, digits and . - _ +, neither . nor - first, so that
// it is nobody's hidden file, option or escape sequence.
bool IsPlainName(std::string_view name);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_FILES_FILE_NAME_H_
