// Writes the command's man page, or its completions for bash, out of the help of its options: the build runs
// it, so that neither can say something else.
//   holdfast-manual man|bash
#include "command.hpp"
#include "turn_text.hpp"

#include <holdfast/version.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <iostream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace {

using holdfast::app::joined;
using commands = std::vector<const CLI::App*>;
using options = std::vector<const CLI::Option*>;

commands commands_of(const CLI::App& program) {
    return program.get_subcommands([](const CLI::App*) { return true; });
}

options options_of(const CLI::App& command, bool positional) {
    return command.get_options([positional](const CLI::Option* each) {
        return each->get_positional() == positional && !each->get_group().empty();
    });
}

/// The value that an option takes, in the words of its help; empty for a flag.
std::string value_of(const CLI::Option& option) {
    return option.get_items_expected_max() == 0 ? std::string() : option.get_type_name();
}

std::vector<std::string> names_of(const CLI::Option& option) {
    std::vector<std::string> names;
    for (const auto& each : option.get_snames())
        names.push_back("-" + each);
    for (const auto& each : option.get_lnames())
        names.push_back("--" + each);
    return names;
}

// --- the man page

/// As text of a page: no request, no escape, and hyphens that are minus signs.
std::string roff(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
    }
    if (!out.empty() && (out.front() == '.' || out.front() == '\''))
        out.insert(0, "\\&");
    return out;
}

void write_entry(const std::string& what, const std::string& value, const std::string& about) {
    std::cout << ".TP\n\\fB" << roff(what) << "\\fR";
    if (!value.empty())
        std::cout << " \\fI" << roff(value) << "\\fR";
    std::cout << "\n" << roff(about) << "\n";
}

void write_options(const CLI::App& command) {
    for (const auto* each : options_of(command, true))
        write_entry(each->get_name(true), {}, each->get_description());
    for (const auto* each : options_of(command, false)) {
        const auto standard = each->get_default_str();
        write_entry(joined(names_of(*each), ", "), value_of(*each),
                    each->get_description() + (standard.empty() ? "" : " (" + standard + ")"));
    }
}

void write_page(const CLI::App& program) {
    std::cout << ".TH HOLDFAST 1 \"\" \"holdfast " HOLDFAST_VERSION "\"\n"
              << ".SH NAME\nholdfast \\- " << roff(program.get_description()) << "\n.SH SYNOPSIS\n";
    for (const auto* each : commands_of(program)) {
        std::cout << "\\fBholdfast " << roff(each->get_name()) << "\\fR [options]";
        for (const auto* place : options_of(*each, true))
            std::cout << (place->get_required() ? " \\fI" : " [\\fI") << roff(place->get_name(true))
                      << (place->get_required() ? "\\fR" : "\\fR]");
        std::cout << "\n.br\n";
    }
    std::cout << ".SH OPTIONS\n";
    write_options(program);
    for (const auto* each : commands_of(program)) {
        std::cout << ".SH HOLDFAST " << roff(each->get_name()) << "\n"
                  << roff(each->get_description()) << "\n";
        write_options(*each);
    }
    std::cout << ".SH EXIT STATUS\n";
    write_entry("0", {}, "Done; of run: the turn completed.");
    write_entry("1", {}, "Failure, with one line on standard error that says why.");
    write_entry("2", {}, "A wrong option or argument.");
    write_entry("130, 143", {}, "Ended by SIGINT, by SIGTERM.");
}

// --- completions for bash

bool takes_file(const CLI::Option& option) {
    static constexpr std::string_view files[] = {"FILE", "PATH", "PEM"};
    const auto value = option.get_positional() ? option.get_name(true) : value_of(option);
    return std::any_of(std::begin(files), std::end(files),
                       [&](std::string_view file) { return value.find(file) != std::string::npos; });
}

/// `none|equal|full`: words to choose from, all in lower case.
bool is_choice(const std::string& value) {
    return value.find('|') != std::string::npos && std::all_of(value.begin(), value.end(), [](char c) {
               return c == '|' || c == '-' || ('a' <= c && c <= 'z');
           });
}

std::string words_of(const CLI::App& command) {
    std::vector<std::string> words;
    for (const auto* each : options_of(command, false))
        for (auto& name : names_of(*each))
            words.push_back(std::move(name));
    return joined(words, " ");
}

/// What may stand behind an option of a command.
void write_values(const CLI::App& command) {
    for (const auto* each : options_of(command, false)) {
        auto value = value_of(*each);
        if (value.empty())
            continue;
        std::vector<std::string> patterns;
        for (const auto& name : names_of(*each))
            patterns.push_back("\"" + command.get_name() + " " + name + "\"");
        std::cout << "    " << joined(patterns, "|") << ") ";
        if (takes_file(*each))
            std::cout << "COMPREPLY=($(compgen -f -- \"$word\"))";
        else if (is_choice(value)) {
            std::replace(value.begin(), value.end(), '|', ' ');
            std::cout << "COMPREPLY=($(compgen -W '" << value << "' -- \"$word\"))";
        } else
            std::cout << ":";
        std::cout << "; return ;;\n";
    }
}

void write_completions(const CLI::App& program) {
    std::vector<std::string> names;
    for (const auto* each : commands_of(program))
        names.push_back(each->get_name());
    std::cout << "# bash completion for holdfast\n"
                 "_holdfast() {\n"
                 "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} "
                 "command=${COMP_WORDS[1]}\n"
                 "  COMPREPLY=()\n"
                 "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "    COMPREPLY=($(compgen -W '"
              << joined(names, " ") << " " << words_of(program)
              << "' -- \"$word\"))\n"
                 "    return\n"
                 "  fi\n"
                 "  case \"$command $before\" in\n";
    for (const auto* each : commands_of(program))
        write_values(*each);
    std::cout << "  esac\n"
                 "  case \"$command $word\" in\n";
    for (const auto* each : commands_of(program)) {
        std::cout << "    \"" << each->get_name() << " -\"*) COMPREPLY=($(compgen -W '" << words_of(*each)
                  << "' -- \"$word\")) ;;\n";
        const auto places = options_of(*each, true);
        if (std::any_of(places.begin(), places.end(), [](const auto* place) { return takes_file(*place); }))
            std::cout << "    \"" << each->get_name() << " \"*) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n";
    }
    std::cout << "  esac\n"
                 "}\n"
                 "complete -F _holdfast holdfast\n";
}

} // namespace

int main(int argc, char** argv) {
    using namespace holdfast::app;
    const std::string_view what = argc == 2 ? argv[1] : "";
    if (what != "man" && what != "bash") {
        std::cerr << "usage: holdfast-manual man|bash\n";
        return exit_usage;
    }
    command_context context{.out = output(STDOUT_FILENO), .notes = output(STDERR_FILENO), .run = {}};
    CLI::App program(program_description, "holdfast");
    add_commands(program, context);
    what == "man" ? write_page(program) : write_completions(program);
    return exit_done;
}
