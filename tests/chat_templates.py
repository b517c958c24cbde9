"""Chat templates in the style of known families, and conversations for them; all of their text is our own."""

LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}{% set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = "1 May 2031" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set first = "" %}
{%- endif %}
{{- "<|header|>system<|/header|>\\n\\n" }}
{%- if tools is not none %}{{- "Tools: yes\\n" }}{%- endif %}
{{- "Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "Call a function as JSON.\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- first }}{{- "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|header|>' + message['role'] + '<|/header|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time, please") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|header|>assistant<|/header|>\\n\\n{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}{{- "}<|eot|>" }}
    {%- else %}
        {{- "<|header|>ipython<|/header|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|header|>assistant<|/header|>\\n\\n' }}{%- endif %}
"""

QWEN3 = """{%- if tools %}
    {{- '<|start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Functions\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|start|>system\\n' + messages[0].content + '<|end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string
            and not(message.content.startswith('<response>') and message.content.endswith('</response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|start|>' + message.role + '\\n' + content + '<|end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|start|>assistant\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}
            {{- content.lstrip('\\n') }}
        {%- else %}{{- '<|start|>' + message.role + '\\n' + content }}{%- endif %}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}
            {%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\\n</call>' }}
        {%- endfor %}
        {{- '<|end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|start|>user' }}{%- endif %}
        {{- '\\n<response>\\n' }}{{- content }}{{- '\\n</response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or message.tool_calls is defined) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Users and assistants take turns!") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}
                    {%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[I] " + system_message + "\\n\\n" + message["content"] + "[/I]" }}
        {%- else %}{{- "[I] " + message["content"] + "[/I]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}{{- out[:-1] }}
            {%- if not loop.last %}{{- "}, " }}{%- else %}{{- "}]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {%- set content = message.content.content if message.content.content is defined else message.content %}
        {{- '[RESULT] {"content": ' + content|string + "}[/RESULT]" }}
    {%- else %}{{- raise_exception("Only users, assistants and tools speak here") }}{%- endif %}
{%- endfor %}
"""

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}{%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles take turns: user, assistant, user") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}
    {%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}{{ '<image>' }}
            {%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}{{ raise_exception("A content of this type is unknown") }}{%- endif -%}
    {{ '</turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<turn>model\\n'}}{%- endif -%}
"""

PHI3 = """{% for message in messages %}
{% if message['role'] == 'system' %}
{{'<|system|>\\n' + message['content'] + '<|fin|>\\n'}}
{% elif message['role'] == 'user' %}
{{'<|user|>\\n' + message['content'] + '<|fin|>\\n'}}
{% elif message['role'] == 'assistant' %}
{{'<|assistant|>\\n' + message['content'] + '<|fin|>\\n'}}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\\n' }}
{% else %}
{{ eos_token }}
{% endif %}"""

SMOLLM3 = """{# Modes of reasoning #}
{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}{%- set reasoning_mode = "/no_think" -%}
  {%- else -%}{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}{%- endif -%}
  {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- else -%}{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}{%- endif -%}
{{- "<|im|>system\\n" -}}
{%- set today = strftime_now("%d %B %Y") if with_date is defined else "1 May 2031" -%}
{{- "Today: " ~ today ~ "\\nMode: " + reasoning_mode + "\\n\\n" -}}
{%- if custom_instructions -%}{{- custom_instructions + "\\n\\n" -}}
{%- else -%}{{- "You help people.\\n\\n" -}}{%- endif -%}
{%- if xml_tools or python_tools or tools -%}
  {{- "### Tools\\n\\n" -}}
  {%- for tool in (xml_tools or tools)[:5] -%}{{- tool | string -}}{{- "\\n" -}}{%- endfor -%}
{%- endif -%}
{{- "<|/im|>\\n" -}}
{%- for message in messages -%}
  {%- set content = message.content if message.content is string else "" -%}
  {%- if message.role == "user" -%}{{ "<|im|>" + message.role + "\\n" + content + "<|/im|>\\n" }}
  {%- elif message.role == "assistant" -%}
    {% generation %}
    {%- if reasoning_mode == "/think" -%}
      {{ "<|im|>assistant\\n" + content.lstrip("\\n") + "<|/im|>\\n" }}
    {%- else -%}
      {{ "<|im|>assistant\\n" + "<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|/im|>\\n" }}
    {%- endif -%}
    {% endgeneration %}
  {%- elif message.role == "tool" -%}{{ "<|im|>user\\n" + content + "<|/im|>\\n" }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {%- if reasoning_mode == "/think" -%}{{ "<|im|>assistant\\n" }}
  {%- else -%}{{ "<|im|>assistant\\n" + "<think>\\n\\n</think>\\n" }}{%- endif -%}
{%- endif -%}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}
{% set system_message = false %}{% endif %}{% for message in loop_messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Take turns') }}{% endif %}
{% if loop.index0 == 0 and system_message != false %}
{% set content = '<<S>>\\n' + system_message + '\\n<</S>>\\n\\n' + message['content'] %}
{% else %}{% set content = message['content'] %}{% endif %}
{% if message['role'] == 'user' %}{{ bos_token + '[I] ' + content.strip() + ' [/I]' }}
{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

MACROS = """{%- macro render_content(content, do_count=false) -%}
  {%- if content is string -%}{{ content }}
  {%- else -%}{%- for part in content -%}
      {%- if 'text' in part -%}{{ part.text }}{%- else -%}[{{ part.type | upper }}]{%- endif -%}
  {%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- macro typed(name, spec, indent=2) -%}
{{ " " * indent }}{{ name }}: {{ spec.type if spec.type is string else spec.type | join(" or ") }}
{%- if spec.properties -%}{% for key, inner in spec.properties | dictsort %}
{{ typed(key, inner, indent + 2) }}{% endfor %}{%- endif -%}
{%- endmacro -%}
{%- for tool in tools or [] -%}fn {{ tool.function.name }}(
{%- for name, spec in tool.function.parameters.properties.items() %}{{ typed(name, spec) }}
{%- if not loop.last %}, {% endif %}{% endfor -%}
) {% endfor -%}
{%- for message in messages -%}
{%- if message.role == "skip" -%}{%- continue -%}{%- endif -%}
{%- if message.role == "stop" -%}{%- break -%}{%- endif -%}
{{ "%s> " % message.role }}{{ render_content(message.content) }}{{ "{} #{}".format(eos_token, loop.index) }}
{% endfor -%}
{%- if add_generation_prompt -%}assistant> {% endif -%}
{%- set roles = messages | map(attribute="role") | unique | list -%}
{%- if roles | length > 2 -%}({{ roles | sort | join(", ") }}){%- endif -%}"""

DOCUMENTS = """{{ bos_token }}{% if documents %}<docs>
{% for document in documents %}
[{{ loop.index0 }}] {{ document.title | default("untitled") }}
{{ document['text'] | replace("\\n", " ") | truncate(40) }}
{% endfor %}</docs>
{% endif %}
{% set body %}
{% for message in messages %}{{ message.role | title }}: {{ message.content | e }}
{% endfor %}
{% endset %}
{{ body | trim }}
{% if add_generation_prompt %}Assistant:{% endif %}"""

NESTED_BLOCKS = """{%- for message in messages %}
{%- if message.role == "assistant" %}{{ "<a>" }}{% generation %}{{ message.content }}
{%- for call in message.tool_calls or [] %}{{ "<call>" ~ (call.function | tojson) }}{% endfor %}{{ "</a>" }}
{%- endgeneration %}
{%- else %}{{ "<" ~ message.role ~ ">" ~ message.content ~ "</" ~ message.role ~ ">" }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<a>" }}{% endif %}"""

TEMPLATES = {
    "llama3": LLAMA3,
    "qwen3": QWEN3,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "phi3": PHI3,
    "smollm3": SMOLLM3,
    "llama2": LLAMA2,
    "macros": MACROS,
    "documents": DOCUMENTS,
    "nested blocks": NESTED_BLOCKS,
    "chatml": """{% for message in messages %}{{'<|s|>' + message['role'] + '\n' + message['content'] + '<|e|>' + '\n'}}
{% endfor %}{% if add_generation_prompt %}{{ '<|s|>assistant\n' }}{% endif %}""",
    "plain": "{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}\n\n\n{% endfor %}  {{- '' -}}  ",
}


def say(role, content, **more):
    """Returns a message."""
    return {"role": role, "content": content, **more}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2, "wet": True}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Returns the <weather> & 'wind'.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Ein Ort, 東京"},
                "days": {"type": ["integer", "null"]},
            },
            "required": ["city"],
        },
    },
}
CONVERSATIONS = {
    "one": [say("user", "Hello <b>, how are you?  ")],
    "turns": [
        say("user", "  Hi\n"),
        say("assistant", "Yes?\n"),
        say("user", "Why 你好 😀?"),
        say("assistant", " So. "),
    ],
    "system": [say("system", "Be brief. /no_think"), say("user", "1 + 1?"), say("assistant", "2"), say("user", "3?")],
    "reasoning": [say("user", "Why?"), say("assistant", "Because.", reasoning_content="Let me\nthink.\n")],
    "thinking": [say("user", "Why?"), say("assistant", "<think>\nHm\n</think>\n\nSo."), say("user", "Ok")],
    "call": [
        say("user", "Rain?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        say("tool", "sunny"),
        say("assistant", "No."),
    ],
    "blocks": [say("user", [{"type": "image"}, {"type": "text", "text": " Look. "}]), say("assistant", "I see.")],
    "wrong turns": [say("assistant", "I begin."), say("assistant", "And go on.")],
    "skipped": [say("user", "a"), say("skip", "b"), say("assistant", "c"), say("stop", "d"), say("user", "e")],
}
OPTIONS = {
    "no options": {},
    "prompt": {"add_generation_prompt": True},
    "tools": {"tools": [TOOL, TOOL], "add_generation_prompt": True},
    "documents": {"documents": [{"title": "A", "text": "line\nline " * 9}, {"text": "short"}]},
    "variables": {"enable_thinking": False, "add_generation_prompt": True, "date_string": "2 May", "bos_token": "<B>"},
    "continued": {"continue_final_message": True},
}
