// The `mneme` command line: verbs, their help, and what is said about an unknown one.
#ifndef MNEME_CLIENTS_CLI_COMMAND_LINE_H_
#define MNEME_CLIENTS_CLI_COMMAND_LINE_H_

#include <istream>
#include <ostream>
#include <span>
#include <string>

#include "clients/cli/invocation.h"

namespace mneme::cli {

struct Verb {
  const char* name;
  const char* summary;
  int (*run)(const Invocation&);
};

// Runs `mneme ARGUMENTS...` with the given verbs and returns the exit status. executable: argv[0].
int RunCommandLine(std::span<const Verb> verbs, const std::string& executable,
                   std::span<const std::string> arguments, std::istream& in, std::ostream& out,
                   std::ostream& err);

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_COMMAND_LINE_H_
