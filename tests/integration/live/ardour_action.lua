-- Runs an editor script of Ardour without its window, on all regions of the track "Rec".
-- Arguments: the session's folder and the script. The selection and the dialog are stand-ins; all else is Ardour's.
AudioEngine:set_backend ("None (Dummy)", "", "")
Session = load_session (arg[1], "take")
if not Session then os.exit (3) end

local regions = {}
for region in Session:route_by_name ("Rec"):to_track ():playlist ():region_list ():iter () do
  table.insert (regions, region)
end
local selected = { iter = function ()
  local index = 0
  return function ()
    index = index + 1
    return regions[index]
  end
end }
Editor = { get_selection = function () return { regions = { regionlist = function () return selected end } } end }
LuaDialog = { MessageType = {}, ButtonType = {}, Message = function (_, text)
  print ("SAID " .. text)
  return { run = function () end }
end }
ardour = function () end
dofile (arg[2])
factory () ()

for _, region in ipairs (regions) do
  for note in ARDOUR.LuaAPI.note_list (region:to_midiregion ():midi_source (0):model ()):iter () do
    print ("NOTE", note:note (), tostring (note:time ()), tostring (note:length ()))
  end
end
close_session ()
