// Whether a folder is a native checkpoint.
#ifndef MNEME_LOADER_NATIVE_NATIVE_FOLDER_H_
#define MNEME_LOADER_NATIVE_NATIVE_FOLDER_H_

#include <string>

namespace mneme::loader {

// Whether `directory` has a manifest.json that is ours: its "format" is "mneme". Other programs
// call their files so, too: one that is a JSON object with another "format", or with none, is
// theirs. One that is no JSON, or cannot be read, counts as ours, so that whoever opens it says
// what is wrong.
bool HasNativeManifest(const std::string& directory);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_NATIVE_NATIVE_FOLDER_H_
