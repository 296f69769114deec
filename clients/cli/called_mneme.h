// Calls the command line as a user does, for tests of verbs.
#ifndef MNEME_CLIENTS_CLI_CALLED_MNEME_H_
#define MNEME_CLIENTS_CLI_CALLED_MNEME_H_

#include <sstream>
#include <string>
#include <vector>

#include "clients/cli/command_line.h"
#include "clients/cli/verbs.h"

namespace mneme::cli {

struct Outcome {
  int exit_status;
  std::string out;
  std::string err;
};

inline Outcome Mneme(std::vector<std::string> arguments, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out, err;
  const int exit_status = RunCommandLine(kVerbs, "mneme", arguments, in, out, err);
  return {exit_status, out.str(), err.str()};
}

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_CALLED_MNEME_H_
