-- Sets three voices to the melody in each selected MIDI region, with musegen. See ardour.md beside this file.

ardour {
  ["type"] = "EditorAction",
  name = "musegen: harmonize",
  license = "Apache-2.0",
  author = "The musegen authors",
  description = [[Sets three voices to the melody in each selected MIDI region, as in a chorale of Bach.
`musegen serve` must run on this computer.]]
}

-- Where `musegen serve` listens, and what it is asked for.
local address = "http://127.0.0.1:8765"
local wishes = "verb=harmonize&track=1&format=notes"
local melody = 1 -- the voice of the answer that is there already

local function quoted (text)
  return "'" .. text:gsub ("'", "'\\''") .. "'"
end

-- Sends a MIDI file to the bridge; returns its answer, or nil and what is wrong.
local function ask (path)
  local pipe = io.popen ("curl -sS --fail-with-body -H 'Content-Type: audio/midi' --data-binary @" .. quoted (path)
    .. " " .. quoted (address .. "/bridge?" .. wishes) .. " 2>&1")
  local answer = pipe:read ("*a")
  if pipe:close () then
    return answer
  end
  return nil, answer:match ('"error":"(.-)"}') or (answer .. " (does `musegen serve` run?)")
end

-- Adds the notes of an answer to a region, as one step that can be undone; returns how many.
local function add (region, answer)
  local model = region:midi_source (0):model ()
  local command = model:new_note_diff_command ("musegen: harmonize")
  local n = 0
  for track, pitch, velocity, start, length in answer:gmatch ("(%d+) (%d+) (%d+) ([%d.]+) ([%d.]+)\n") do
    if tonumber (track) ~= melody then
      local from, lasts = Temporal.Beats.from_double (tonumber (start)), Temporal.Beats.from_double (tonumber (length))
      command:add (ARDOUR.LuaAPI.new_noteptr (0, from, lasts, tonumber (pitch), tonumber (velocity)))
      n = n + 1
    end
  end
  model:apply_command (Session, command)
  return n
end

function factory () return function ()
  local said = {}
  for each in Editor:get_selection ().regions:regionlist ():iter () do
    local region = each:to_midiregion ()
    if not region:isnil () then
      local answer, wrong = ask (region:source (0):to_filesource ():path ())
      table.insert (said, wrong or (each:name () .. ": " .. add (region, answer) .. " notes"))
    end
  end
  local text = #said > 0 and table.concat (said, "\n") or "Select a MIDI region with a melody."
  LuaDialog.Message ("musegen", text, LuaDialog.MessageType.Info, LuaDialog.ButtonType.Close):run ()
end end
